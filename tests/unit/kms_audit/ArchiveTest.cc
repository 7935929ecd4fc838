// Does the chain go on from file to file, whenever the daemon was killed, and does a
// copy prove what the digests say?
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kms/audit/AuditChain.h"
#include "kms/audit/AuditDigest.h"
#include "kms/audit/AuditLog.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

namespace files = std::filesystem;
using nlohmann::json;

constexpr char kFirst[] = "audit-000000000001.log";

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ArchiveTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/keyfold-archive-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    Open();
  }
  void TearDown() override {
    log_.reset();
    files::remove_all(folder_);
  }
  void Open() {
    log_.reset();
    Bytes raw(32, 7);
    auto log = AuditLog::Open(folder_, SecretFrom(raw), clock_);
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    log_ = std::move(*log);
  }
  void Fill(int count) {
    for (int i = 0; i < count; ++i)
      ASSERT_TRUE(log_->Append({{"eventName", "Fill"}}, AuditRoom::kOrdinary).ok());
  }
  AuditLog::RecordMaker Digest(const char* event, const SigningKey& key) {
    return [this, event, &key](const AuditHead& head) {
      const json digest =
          SignDigest({"store", last_.sequence + 1, head.sequence, head.hash,
                      "2026-01-01T00:00:00Z", last_.sequence, last_.signature},
                     key);
      last_ = {head.sequence + 1, digest["signature"]};
      JsonText text;
      text.Add("eventName", event)
          .AddJson("additionalEventData", json{{"digest", digest}}.dump());
      return text;
    };
  }
  void Rotate() {
    bool appended = false;
    const Status status = log_->Rotate(Digest("RotateLog", key_), &appended);
    ASSERT_TRUE(status.ok()) << status.ToString();
    ASSERT_TRUE(appended);
  }
  void Sign() {
    ASSERT_TRUE(
        log_->AppendWith(Digest("SignDigest", key_), AuditRoom::kOrdinary).ok());
  }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string Text(const std::string& name) const {
    std::ifstream in(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary | std::ios::trunc) << text;
  }
  // "" when the log verifies.
  std::string Verdict(const AuditHead& released = {}) const {
    const auto found = log_->Verify(log_->head(), released);
    if (found.ok()) return "";
    EXPECT_EQ(found.status().error(), Error::kCorrupt);
    return found.status().message();
  }
  std::string CopyVerdict(const std::vector<std::string>& names,
                          const SigningKey& key) const {
    std::vector<std::string> paths;
    for (const auto& name : names) paths.push_back(Path(name));
    const auto found = VerifyCopy(paths, {key.PublicKeyDer()});
    return found.ok() ? "" : found.status().message();
  }

  FakeClock clock_{TimePoint(std::chrono::milliseconds(1767225600000))};  // 2026-01-01
  SigningKey key_ = SigningKey::Generate();
  DigestHead last_;
  std::string folder_;
  std::unique_ptr<AuditLog> log_;
};

TEST_F(ArchiveTest, TheChainGoesOnFromFileToFile) {
  Fill(3);
  Rotate();  // record 4
  Fill(2);
  Rotate();  // record 7
  Fill(1);
  EXPECT_EQ(*log_->Archives(),
            (std::vector<std::string>{kFirst, "audit-000000000005.log"}));
  EXPECT_EQ(log_->first_sequence(), 8u);
  const auto found = log_->Verify(log_->head());
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  EXPECT_EQ(found->records, 8u);
  EXPECT_EQ(found->files, 3u);
  EXPECT_EQ(found->digests, 2u);
  EXPECT_EQ(found->signed_to, 6u);
  Open();
  EXPECT_EQ(log_->head().sequence, 8u);
  Fill(1);
  EXPECT_EQ(Verdict(), "");
}

// Root may look after a user's store, which the user goes on with.
TEST_F(ArchiveTest, ANewFileBelongsToWhomTheFolderDoes) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give files away";
  constexpr uid_t kOwner = 60001;
  ASSERT_EQ(::chown(folder_.c_str(), kOwner, kOwner), 0);
  Fill(1);
  Rotate();
  struct stat st;
  ASSERT_EQ(::stat(Path("audit.log").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, kOwner);
  EXPECT_EQ(st.st_gid, kOwner);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
}

TEST_F(ArchiveTest, LooksSpanAllFiles) {
  Fill(3);
  Rotate();
  Fill(2);
  const auto all = log_->Read({});
  ASSERT_EQ(all->records.size(), 6u);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(all->records[i]["sequence"], i + 1);
  AuditFilter filter;
  filter.limit = 4;
  EXPECT_EQ(log_->Read(filter)->records.front()["sequence"], 3);
  filter = {};
  filter.after_sequence = 2;
  EXPECT_EQ(log_->Read(filter)->records.front()["sequence"], 3);
  filter.before_sequence = 4;
  EXPECT_EQ(log_->Read(filter)->records.size(), 1u);
  filter = {};
  filter.event = "RotateLog";
  EXPECT_EQ(log_->Read(filter)->records.size(), 1u);
  filter = {};
  filter.max_bytes = Text("audit.log").size() + 10;
  const auto cut = log_->Read(filter);
  EXPECT_TRUE(cut->cut);
  EXPECT_EQ(cut->records.size(), 2u);
}

// A rotation makes audit.log.next, adds the record, gives the archive its name, and
// renames. What each step leaves is put together from the files.
TEST_F(ArchiveTest, ARotationMayBeCutOffAfterEachStep) {
  Fill(3);
  Sign();  // as the record of the rotation
  log_.reset();
  const std::string whole = Text("audit.log");
  const auto goes_on = [&](const char* step) {
    Open();
    EXPECT_EQ(log_->head().sequence, 4u) << step;
    EXPECT_EQ(Verdict(), "") << step;
    EXPECT_FALSE(files::exists(Path("audit.log.next"))) << step;
    Fill(1);
    Rotate();
    Fill(1);
    EXPECT_EQ(Verdict(), "") << step;
    EXPECT_EQ(log_->Verify(log_->head())->records, 7u) << step;
    log_.reset();
    files::remove_all(folder_);
    files::create_directory(folder_);
    Write("audit.log", whole);
    last_ = {
        4, json::parse(whole.substr(whole.rfind('\n', whole.size() - 2) +
                                    1))["additionalEventData"]["digest"]["signature"]};
  };
  Write("audit.log.next", "");
  goes_on("the new file and the record");
  Write("audit.log.next", "");
  files::create_hard_link(Path("audit.log"), Path(kFirst));
  goes_on("the archive's name");
  files::rename(Path("audit.log"), Path(kFirst));
  Write("audit.log", "");
  goes_on("all");
  // Not a step, but what comes of a folder whose last rename was lost.
  files::rename(Path("audit.log"), Path(kFirst));
  goes_on("no audit.log");
}

TEST_F(ArchiveTest, AMissingArchiveIsNamedUnlessReleased) {
  Fill(3);
  Rotate();
  Fill(2);
  Rotate();
  Fill(2);
  const AuditHead first = *log_->ArchiveEnd(kFirst);
  EXPECT_EQ(first.sequence, 4u);
  files::rename(Path(kFirst), Path("away"));
  EXPECT_TRUE(
      Contains(Verdict(), "record 1 (audit-000000000005.log, line 1) is missing"))
      << Verdict();
  EXPECT_EQ(Verdict(first), "");
  EXPECT_EQ(log_->Verify(log_->head(), first)->first_sequence, 5u);
  // The release does not cover the next one.
  files::rename(Path("audit-000000000005.log"), Path("away-too"));
  EXPECT_TRUE(Contains(Verdict(first), "record 1 (audit.log, line 1) is missing"))
      << Verdict(first);
  // Another file in its place does not continue what was released.
  files::rename(Path("away-too"), Path("audit-000000000005.log"));
  EXPECT_TRUE(Contains(Verdict({4, std::string(64, 'a')}), "does not continue"));
  // What was released may be there all the same.
  files::rename(Path("away"), Path(kFirst));
  EXPECT_EQ(Verdict(first), "");
  EXPECT_TRUE(
      Contains(Verdict({4, std::string(64, 'a')}), "not the record that was sealed"));
}

TEST_F(ArchiveTest, AChangedArchiveIsNamedWithItsLine) {
  Fill(3);
  Rotate();
  Fill(2);
  Rotate();
  Fill(1);
  const std::string name = "audit-000000000005.log";
  std::string text = Text(name);
  text[text.find('\n') + 20] ^= 1;
  Write(name, text);
  EXPECT_TRUE(
      Contains(Verdict(), "record 6 (audit-000000000005.log, line 2) was changed"))
      << Verdict();
  const auto found = log_->Read({});
  EXPECT_EQ(found->records.size(), 7u);
  EXPECT_TRUE(Contains(found->damage, "Line 2 of audit-000000000005.log"))
      << found->damage;
}

TEST_F(ArchiveTest, ACopyIsProvedByItsDigests) {
  Fill(3);
  Sign();
  Fill(1);
  Rotate();
  Fill(2);
  Sign();
  Fill(1);
  log_.reset();
  EXPECT_EQ(CopyVerdict({"audit.log", kFirst}, key_), "");
  EXPECT_EQ(CopyVerdict({"audit.log"}, key_), "");
  const auto found =
      VerifyCopy({Path(kFirst), Path("audit.log")}, {key_.PublicKeyDer()});
  EXPECT_EQ(found->digests, 3u);
  EXPECT_EQ(found->signed_to, 8u);
  EXPECT_EQ(found->end.sequence, 10u);
  EXPECT_TRUE(
      Contains(CopyVerdict({"audit.log"}, SigningKey::Generate()), "another key"));

  // Whoever changes a record can make the chain fit again, but not the digest.
  const std::string good = Text(kFirst);
  std::string forged, previous(64, '0');
  size_t from = 0;
  for (int line = 1; from < good.size(); ++line) {
    const size_t end = good.find('\n', from);
    json record = json::parse(good.substr(from, end - from));
    if (line == 2) record["eventName"] = "Innocent";
    record["previousHash"] = previous;
    const std::string text = record.dump();
    previous = ToHex(Sha256(AsBytes(text)));
    forged += text + "\n";
    from = end + 1;
  }
  Write(kFirst, forged);
  EXPECT_TRUE(Contains(CopyVerdict({kFirst}, key_), "its digest is of other records"))
      << CopyVerdict({kFirst}, key_);
  Write(kFirst, good);
  // A record left out, and a file.
  Write(kFirst, good.substr(good.find('\n') + 1));
  EXPECT_EQ(CopyVerdict({kFirst}, key_), "");  // it may begin anywhere
  const size_t second = good.find('\n') + 1, third = good.find('\n', second) + 1;
  Write(kFirst, good.substr(0, second) + good.substr(third));
  EXPECT_TRUE(Contains(CopyVerdict({kFirst}, key_), "record 2"))
      << CopyVerdict({kFirst}, key_);
}

TEST_F(ArchiveTest, AnyFlippedByteOfASignedCopyIsNoticed) {
  Fill(1);
  Sign();
  log_.reset();
  const std::string good = Text("audit.log");
  const size_t end_of_first = good.find('\n');
  for (size_t at = 0; at < end_of_first; ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    Write("audit.log", bad);
    EXPECT_NE(CopyVerdict({"audit.log"}, key_), "") << at;
  }
}

TEST_F(ArchiveTest, PublicKeysAreReadAsOpensslWritesThem) {
  const Bytes der = key_.PublicKeyDer();
  const std::string pem = PublicKeyPem(der);
  EXPECT_EQ(ParsePublicKeys(pem + "\n" + pem), (std::vector<Bytes>{der, der}));
  EXPECT_TRUE(ParsePublicKeys("").empty());
  EXPECT_TRUE(ParsePublicKeys("-----BEGIN PUBLIC KEY-----\nAAAA").empty());
  EXPECT_TRUE(ParsePublicKeys("-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----")
                  .empty());
}

TEST_F(ArchiveTest, HostileDigestsAreRefused) {
  Fill(1);
  const json good = SignDigest({"s", 1, 1, log_->head().hash, "t", 0, "QQ=="}, key_);
  for (const char* member :
       {"firstSequence", "lastSequence", "lastHash", "time", "storeId",
        "previousDigestSequence", "previousDigestSignature", "publicKey", "signature"})
    for (const json& value : {json(7), json("x"), json(nullptr), json::array()}) {
      json bad = good;
      bad[member] = value;
      const auto found = DigestIn({{"additionalEventData", {{"digest", bad}}}});
      EXPECT_EQ(found.status().error(), Error::kCorrupt) << member << value;
    }
  EXPECT_TRUE(DigestIn({{"additionalEventData", {{"digest", good}}}})->has_value());
  EXPECT_FALSE(DigestIn({{"additionalEventData", "x"}})->has_value());
  EXPECT_FALSE(DigestIn(json::object())->has_value());
}

}  // namespace
}  // namespace keyfold
