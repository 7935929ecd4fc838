#include <memory>
#include <thread>

#include "fs/cli/AuditText.h"
#include "fs/cli/AuditWords.h"
#include "fs/cli/Commands.h"
#include "fs/cli/KmsCall.h"
#include "fs/cli/Report.h"
#include "fs/cli/Times.h"
#include "kms/base/Clock.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kFollowInterval{500};

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

Status ShowLog(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(json request, AuditRequest(words));
  KF_ASSIGN_OR_RETURN(auto connection, Connect(words.target));
  Printer printer(*connection, words.format);
  for (;;) {
    uint64_t last = 0;
    std::string damage;
    KF_ASSIGN_OR_RETURN(const auto events,
                        AuditEvents(*connection, request, &last, &damage));
    KF_RETURN_IF_ERROR(printer.Show(events));
    if (!damage.empty()) return {Error::kCorrupt, damage};
    if (!words.follow) return OkStatus();
    request["AfterSequence"] = last;
    request.erase("MaxResults");
    std::this_thread::sleep_for(kFollowInterval);
  }
}

using Action = Status (*)(const AuditWords&);

// Verb is a subcommand that does something else than show the log.
CLI::App* Verb(CLI::App* audit, const char* name, const char* help, Action action,
               const std::shared_ptr<Action>& chosen, const char* example) {
  CLI::App* verb = audit->add_subcommand(name, help);
  verb->fallthrough();
  verb->footer(std::string("Example:\n  ") + example);
  verb->callback([action, chosen] { *chosen = action; });
  return verb;
}

void AddRules(CLI::App* audit, const std::shared_ptr<AuditWords>& words,
              const std::shared_ptr<Action>& chosen) {
  CLI::App* rules = audit->add_subcommand("rules", "The rules of alerts");
  rules->require_subcommand(1);
  rules->fallthrough();
  rules->footer("Example:\n  keyfold audit rules show");
  CLI::App* apply = Verb(rules, "apply", "Replaces your rules", ApplyAlertRules, chosen,
                         "keyfold audit rules apply alerts.yaml");
  apply->add_option("file", words->file, "alerts.yaml")->required()->type_name("FILE");
  apply->add_flag("--dry-run", words->dry_run, "Only check the file");
  Verb(rules, "show", "Shows the built-in rules and yours", ShowAlertRules, chosen,
       "keyfold audit rules show");
  Verb(rules, "test", "Shows which alerts the records there are would have raised",
       TestAlertRules, chosen, "keyfold audit rules test alerts.yaml --since 7d")
      ->add_option("file", words->file, "alerts.yaml; else the rules in force")
      ->type_name("FILE");
}

void AddVerbs(CLI::App* audit, const std::shared_ptr<AuditWords>& words,
              const std::shared_ptr<Action>& chosen) {
  CLI::App* verify =
      Verb(audit, "verify", "Checks that no record was changed or removed", VerifyAudit,
           chosen,
           "keyfold audit verify\n"
           "  keyfold audit verify --copy audit-*.log audit.log --public-key key.pem");
  verify
      ->add_option("--copy", words->copies,
                   "Copies of the log's files instead, without the store or any secret")
      ->type_name("FILE...");
  verify
      ->add_option("--public-key", words->public_key,
                   "For --copy: what 'keyfold audit public-key' printed")
      ->type_name("FILE");
  AddRules(audit, words, chosen);
  Verb(audit, "compliance", "Judges keys and grants as they are now", ShowCompliance,
       chosen, "keyfold audit compliance");
  Verb(audit, "export", "Writes the log as tools for AWS CloudTrail read it",
       ExportAudit, chosen, "keyfold audit export --since 2026-01-01 > events.json")
      ->add_option("--format", words->export_format,
                   "cloudtrail: one object with Records, as a trail's file; "
                   "cloudtrail-lines: one record a line")
      ->check(CLI::IsMember({"cloudtrail", "cloudtrail-lines"}));
  Verb(audit, "public-key", "Prints the key that the log's digests verify with",
       ShowPublicKey, chosen, "keyfold audit public-key > key.pem");
  Verb(audit, "archive", "Begins a new file of the log; prints the archive's name",
       ArchiveAudit, chosen, "keyfold audit archive");
  Verb(audit, "archives", "Lists the archives of the log", ListAuditArchives, chosen,
       "keyfold audit archives");
  Verb(audit, "release", "Lets an archive, and those before it, be moved away",
       ReleaseAudit, chosen, "keyfold audit release audit-000000000001.log")
      ->add_option("archive", words->archive, "Its name")
      ->required()
      ->type_name("ARCHIVE");
}

}  // namespace

Result<json> CallAudit(const AuditWords& words, const char* operation,
                       const json& request) {
  KF_ASSIGN_OR_RETURN(auto connection, Connect(words.target));
  return connection->Call("audit", operation, request);
}

Result<json> AuditRequest(const AuditWords& words) {
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
  if (words.refused) request["Refused"] = true;
  if (words.limit > 0) request["MaxResults"] = words.limit;
  return request;
}

Result<std::vector<json>> AuditEvents(Connection& connection, const json& wanted,
                                      uint64_t* last, std::string* damage) {
  json request = wanted;
  const auto limit = request.value("MaxResults", size_t{100000});
  KF_ASSIGN_OR_RETURN(json answer, connection.Call("audit", "LookupEvents", request));
  *last = answer.value("LastSequence", uint64_t{0});
  *damage = answer.value("Damage", "");
  auto events = answer.value("Events", std::vector<json>());
  while (answer.value("Truncated", false) && events.size() < limit) {
    request["BeforeSequence"] = events.front().value("sequence", uint64_t{0});
    request["MaxResults"] = limit - events.size();
    KF_ASSIGN_OR_RETURN(answer, connection.Call("audit", "LookupEvents", request));
    if (const std::string older = answer.value("Damage", ""); !older.empty())
      *damage = older;
    auto older = answer.value("Events", std::vector<json>());
    if (older.empty()) break;
    events.insert(events.begin(), std::make_move_iterator(older.begin()),
                  std::make_move_iterator(older.end()));
  }
  return events;
}

void AddAudit(CLI::App& app, Run* run) {
  const auto words = std::make_shared<AuditWords>();
  CLI::App* audit = app.add_subcommand("audit", "Who did what with which key and file");
  AddTargetOptions(audit, &words->target);
  AddOutputOption(audit, &words->format);
  audit->add_option("--since", words->since, "A time, or how long ago: 10m, 2h, 3d")
      ->type_name("TIME");
  audit->add_option("--user", words->user,
                    "Only what this user did: NAME, user:NAME or an ARN");
  audit->add_option("--key", words->key, "Only what concerns this key");
  audit->add_flag("--refused", words->refused, "Only what was refused or failed");
  audit
      ->add_option("--limit", words->limit,
                   "The last so many records; 100000 if not given")
      ->check(CLI::Range(1, 100000));
  audit->add_flag("--follow", words->follow, "Go on with records as they are made");
  audit->footer("Example:\n  keyfold audit --since 2h --user accounts");
  const auto chosen = std::make_shared<Action>(ShowLog);
  AddVerbs(audit, words, chosen);
  audit->callback([words, chosen, run] {
    *run = [words, chosen] {
      const Status status = (*chosen)(*words);
      return status.ok() ? 0 : Fail(status);
    };
  });
}

}  // namespace keyfold
