#include <memory>
#include <thread>

#include "fs/cli/AuditText.h"
#include "fs/cli/Commands.h"
#include "fs/cli/KmsCall.h"
#include "fs/cli/Report.h"
#include "fs/cli/Times.h"
#include "kms/base/Clock.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kFollowInterval{500};

struct AuditWords {
  TargetOptions target;
  std::string format = "text";
  std::string since, user, key;
  int limit = 0;
  bool follow = false;
};

// Printer writes records, and remembers the aliases of keys: asking is itself a
// call that is recorded, so it is done only for keys not seen before.
class Printer {
 public:
  Printer(Connection& connection, std::string format)
      : connection_(connection), format_(std::move(format)) {}

  Status Show(const std::vector<json>& records) {
    if (records.empty()) return OkStatus();
    if (format_ != "json") {
      for (const json& record : records)
        for (const std::string& key : KeysOf(record))
          if (!names_.contains(key)) LookUp(key);
      return Print(AuditLines(records, names_));
    }
    std::string text;
    for (const json& record : records)
      text += record.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    return Print(text);
  }

 private:
  // LookUp names all keys by their first alias; `key` by its id if it has none,
  // or if the caller may not list them.
  void LookUp(const std::string& key) {
    const auto answer = CallAllPages(connection_, *FindOperation("kms", "ListAliases"),
                                     json::object(), true);
    if (answer.ok())
      for (const json& alias : answer->value("Aliases", json::array()))
        names_.emplace(alias.value("TargetKeyId", ""), alias.value("AliasName", ""));
    names_.emplace(key, key);
  }

  Connection& connection_;
  const std::string format_;
  std::map<std::string, std::string> names_;  // by key id
};

Result<json> RequestOfWords(const AuditWords& words) {
  json request = json::object();
  if (!words.since.empty()) {
    const auto since = ParseSince(words.since, Clock::System().Now());
    if (!since)
      return Status(Error::kUsage,
                    "--since expects a time such as 2026-01-31T12:00:00Z, "
                    "or 10m, 2h, 3d.");
    request["Since"] = FormatUtc(*since);
  }
  if (!words.user.empty()) request["User"] = words.user;
  if (!words.key.empty()) request["KeyId"] = words.key;
  if (words.limit > 0) request["MaxResults"] = words.limit;
  return request;
}

// AddOlder fetches what did not fit the answer, back to the first record asked for.
Status AddOlder(Connection& connection, json request, json answer,
                std::vector<json>* events) {
  const auto wanted = request.value("MaxResults", size_t{100000});
  while (answer.value("Truncated", false) && events->size() < wanted) {
    request["BeforeSequence"] = events->front().value("sequence", uint64_t{0});
    request["MaxResults"] = wanted - events->size();
    KF_ASSIGN_OR_RETURN(answer, connection.Call("audit", "LookupEvents", request));
    auto older = answer.value("Events", std::vector<json>());
    if (older.empty()) break;
    events->insert(events->begin(), std::make_move_iterator(older.begin()),
                   std::make_move_iterator(older.end()));
  }
  return OkStatus();
}

Status ShowLog(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(json request, RequestOfWords(words));
  KF_ASSIGN_OR_RETURN(auto connection, Connect(words.target));
  Printer printer(*connection, words.format);
  for (;;) {
    KF_ASSIGN_OR_RETURN(const json answer,
                        connection->Call("audit", "LookupEvents", request));
    auto events = answer.value("Events", std::vector<json>());
    KF_RETURN_IF_ERROR(AddOlder(*connection, request, answer, &events));
    KF_RETURN_IF_ERROR(printer.Show(events));
    if (!words.follow) return OkStatus();
    request["AfterSequence"] = answer.value("LastSequence", uint64_t{0});
    request.erase("MaxResults");
    std::this_thread::sleep_for(kFollowInterval);
  }
}

Status Verify(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(auto connection, Connect(words.target));
  KF_ASSIGN_OR_RETURN(const json answer,
                      connection->Call("audit", "VerifyLog", json::object()));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  return Print("The audit log is whole: " + Cell(answer.value("Records", json(0))) +
               " records.\n");
}

}  // namespace

void AddAudit(CLI::App& app, Run* run) {
  const auto words = std::make_shared<AuditWords>();
  CLI::App* audit = app.add_subcommand("audit", "Who did what with which key and file");
  AddTargetOptions(audit, &words->target);
  AddOutputOption(audit, &words->format);
  audit->add_option("--since", words->since, "A time, or how long ago: 10m, 2h, 3d")
      ->type_name("TIME");
  audit->add_option("--user", words->user, "Only what this user did");
  audit->add_option("--key", words->key, "Only what concerns this key");
  audit
      ->add_option("--limit", words->limit,
                   "The last so many records; 100000 if not given")
      ->check(CLI::Range(1, 100000));
  audit->add_flag("--follow", words->follow, "Go on with records as they are made");
  audit->footer("Example:\n  keyfold audit --since 2h --user accounts");
  CLI::App* verify =
      audit->add_subcommand("verify", "Checks that no record was changed or removed");
  verify->fallthrough();
  verify->footer("Example:\n  keyfold audit verify");
  const auto verifying = std::make_shared<bool>(false);
  verify->callback([verifying] { *verifying = true; });
  audit->callback([words, verifying, run] {
    *run = [words, verifying] {
      const Status status = *verifying ? Verify(*words) : ShowLog(*words);
      return status.ok() ? 0 : Fail(status);
    };
  });
}

}  // namespace keyfold
