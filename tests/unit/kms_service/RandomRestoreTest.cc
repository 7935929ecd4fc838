// Events of an imported key at random, with backups and restores of any of them in
// between. Whatever their order: no number is of two materials, no use that was taken
// away comes back, and when all material is imported again all is readable.
// KEYFOLD_TEST_SEED repeats a run; KEYFOLD_TEST_STEPS sets its length.
#include <random>
#include <set>

#include "BackupFixture.h"

namespace keyfold {
namespace {

class RandomRestoreTest : public BackupFixture,
                          public testing::WithParamInterface<unsigned> {
 protected:
  static unsigned long Given(const char* name, unsigned long otherwise) {
    const char* text = ::getenv(name);
    return text == nullptr ? otherwise : ::strtoul(text, nullptr, 10);
  }
  size_t Pick(size_t count) {
    return std::uniform_int_distribution<size_t>(0, count - 1)(random_);
  }
  std::string FileOf(size_t material) { return "m" + std::to_string(material); }

  // What the key's material is in, by its id.
  std::string StateOf(const std::string& id) {
    for (const json& one : Materials(key_))
      if (one["KeyMaterialId"] == id) return one["KeyMaterialState"];
    return "";
  }
  void ImportAny() {
    const bool fresh = files_ == 0 || Pick(3) == 0;
    const size_t material = fresh ? files_++ : Pick(files_);
    if (fresh) {
      NewMaterial();
      Shell("cp material " + FileOf(material));
    }
    Shell("cp " + FileOf(material) + " material");
    json more = json::object();
    if (fresh || Pick(3) == 0) more["ImportType"] = kNew;
    const std::string before = State(key_);
    const auto answer =
        Call(kCfo, "ImportKeyMaterial", WrappedRequest(key_, kSha256, more));
    if (!answer.ok()) return;
    const bool was_taken = !taken_.empty();
    taken_.erase((*answer)["KeyMaterialId"].get<std::string>());
    // As AWS has it: material that was deleted, and comes again, enables the key.
    if (before == "PendingImport" && was_taken && State(key_) == "Enabled")
      disabled_ = false;
  }
  void DeleteAny() {
    json request = {{"KeyId", key_}};
    const json materials = Materials(key_);
    std::string state;
    if (!materials.empty() && Pick(2) == 0) {
      const json& one = materials[Pick(materials.size())];
      request["KeyMaterialId"] = one["KeyMaterialId"];
      state = one["KeyMaterialState"];
    }
    const auto answer = Call(kCfo, "DeleteImportedKeyMaterial", request);
    if (answer.ok() && state != "PENDING_ROTATION" && answer->contains("KeyMaterialId"))
      taken_.insert((*answer)["KeyMaterialId"].get<std::string>());
  }
  void EncryptAny() {
    const std::string text = ToBase64(RandomBytes(12));
    const auto made = Call(kCfo, "Encrypt", {{"KeyId", key_}, {"Plaintext", text}});
    if (!made.ok()) return;
    const json blob = (*made)["CiphertextBlob"];
    blobs_.emplace_back(blob, text);
    const Bytes bytes = FromBase64(blob.get<std::string>()).value();
    const auto [it, first] =
        owners_.try_emplace(bytes[17] | bytes[18] << 8, Current(key_));
    EXPECT_EQ(it->second, Current(key_)) << "number " << it->first;
  }
  std::string Step() {
    switch (Pick(12)) {
      case 0:
      case 1:
      case 2:
        return ImportAny(), "import";
      case 3:
      case 4:
        return "rotate " + Rotate(key_);
      case 5:
        if (Try(kCfo, "DisableKey", {{"KeyId", key_}}) == "ok") disabled_ = true;
        return "disable";
      case 6:
        if (Try(kCfo, "EnableKey", {{"KeyId", key_}}) == "ok") disabled_ = false;
        return "enable";
      case 7:
        return DeleteAny(), "delete";
      case 8:
        backups_.push_back(BackUp());
        return "back up";
      case 9: {
        const size_t which = Pick(backups_.size());
        RestoreAndOpen(backups_[which]);
        return "restore " + std::to_string(which);
      }
      default:
        return EncryptAny(), "encrypt";
    }
  }

  std::mt19937 random_;
  std::string key_;
  size_t files_ = 0;
  std::vector<Bytes> backups_;
  std::vector<std::pair<json, std::string>> blobs_;  // and what they hold
  std::map<uint32_t, std::string> owners_;           // of numbers, by material id
  std::set<std::string> taken_;                      // deleted, and not there again
  bool disabled_ = false;
};

TEST_P(RandomRestoreTest, NothingIsMixedUpOrComesBack) {
  const unsigned long seed = Given("KEYFOLD_TEST_SEED", GetParam());
  random_.seed(static_cast<unsigned>(seed));
  key_ = MakeKey("EXTERNAL");
  backups_.push_back(BackUp());
  std::string done = "seed " + std::to_string(seed);
  for (unsigned long i = Given("KEYFOLD_TEST_STEPS", 60); i > 0; --i) {
    done += ", " + Step();
    EncryptAny();
    const bool takes_away = disabled_ || !taken_.empty();
    EXPECT_FALSE(takes_away && State(key_) == "Enabled") << done;
    if (HasFailure()) FAIL() << done;
  }
  for (size_t i = 0; i < files_; ++i) {
    const std::string imported = ImportFrom(FileOf(i).c_str(), key_);
    EXPECT_TRUE(imported == "ok" || imported == "IncorrectKeyMaterialException");
  }
  (void)Try(kCfo, "EnableKey", {{"KeyId", key_}});
  for (const auto& [blob, text] : blobs_) {
    const auto answer = Call(kCfo, "Decrypt", {{"CiphertextBlob", blob}});
    ASSERT_TRUE(answer.ok()) << answer.status().ToString() << "\n" << done;
    EXPECT_EQ((*answer)["Plaintext"], text) << done;
  }
  EXPECT_GT(blobs_.size(), 0u) << done;
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomRestoreTest, testing::Values(1, 2, 3));

}  // namespace
}  // namespace keyfold
