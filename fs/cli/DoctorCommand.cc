#include <memory>

#include "fs/cli/Commands.h"
#include "fs/cli/Doctor.h"
#include "fs/cli/ExitCode.h"
#include "fs/cli/Harmless.h"
#include "fs/cli/Report.h"

namespace keyfold {
namespace {

using nlohmann::json;

struct DoctorWords {
  std::string store, root_key;
  std::string format = "text";
};

const char* HealthName(Health health) {
  switch (health) {
    case Health::kGood:
      return "ok";
    case Health::kWorse:
      return "warning";
    case Health::kBad:
      break;
  }
  return "bad";
}

std::string Told(const std::vector<Diagnosis>& all, bool as_json) {
  if (as_json) {
    json out = json::array();
    for (const Diagnosis& one : all)
      out.push_back({{"what", one.what},
                     {"health", HealthName(one.health)},
                     {"found", one.found},
                     {"mend", one.mend}});
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  }
  std::vector<std::vector<std::string>> rows;
  for (const Diagnosis& one : all) {
    rows.push_back({HealthName(one.health), Harmless(one.what), Harmless(one.found)});
    if (!one.mend.empty()) rows.push_back({"", "", "-> " + Harmless(one.mend)});
  }
  return Columns(rows);
}

int RunDoctor(const DoctorWords& words) {
  std::vector<Diagnosis> all = ExamineMachine(Machine::ThisOne());
  const auto add = [&all](std::vector<Diagnosis> more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  if (!words.store.empty()) add(ExamineStore(words.store, words.root_key));
  add(ExamineMounts());
  const Status printed = Print(Told(all, words.format == "json"));
  if (!printed.ok()) return Fail(printed);
  for (const Diagnosis& one : all)
    if (one.health == Health::kBad) return kExitFailed;
  return kExitOk;
}

}  // namespace

void AddDoctor(CLI::App& app, Run* run) {
  const auto words = std::make_shared<DoctorWords>();
  CLI::App* doctor = app.add_subcommand(
      "doctor", "Looks for what could keep Keyfold from working here");
  doctor->add_option("store", words->store, "Also look at this store")
      ->type_name("STORE");
  doctor
      ->add_option("--root-key", words->root_key,
                   "Where its secret is, if not as with keyfold init")
      ->type_name("SPEC");
  AddOutputOption(doctor, &words->format);
  doctor->footer(
      "Example:\n  keyfold doctor /srv/keyfold/finance\n\n"
      "It changes nothing and asks for nothing. Run it as who mounts. The exit code "
      "is\n"
      "1 if anything is bad, and 0 with warnings.");
  doctor->callback([words, run] { *run = [words] { return RunDoctor(*words); }; });
}

}  // namespace keyfold
