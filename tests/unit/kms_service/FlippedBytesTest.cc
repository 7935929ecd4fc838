// Does any byte of the key store or of the audit log that is another give anything but
// the right data or a refusal?
//
// KEYFOLD_TEST_EVERY_BIT=1 flips each bit by itself, everywhere; without it each byte
// gets one of four masks, and only every seventh where the key store's file is zero.
#include <algorithm>
#include <map>
#include <sstream>

#include "KmsFixture.h"
#include "kms/audit/AuditLog.h"
#include "kms/service/Catalog.h"

namespace keyfold {
namespace {

constexpr size_t kPage = 4096;

bool EveryBit() { return getenv("KEYFOLD_TEST_EVERY_BIT") != nullptr; }

std::vector<uint8_t> MasksAt(size_t at) {
  static constexpr uint8_t kMasks[] = {0xff, 0x01, 0x80, 0x20};
  if (!EveryBit()) return {kMasks[at % std::size(kMasks)]};
  return {1, 2, 4, 8, 16, 32, 64, 128, 0xff};
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

// Work is a folder in memory, as each of ten thousand files is synced.
class Work {
 public:
  Work() {
    std::string name = std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    name += "/keyfold-flip-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~Work() { std::filesystem::remove_all(path_); }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  std::string At(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

using RowSet = std::map<std::pair<Table, std::string>, std::string>;

class FlippedBytesTest : public KmsTest {
 protected:
  // A small store with something in each table, closed.
  void SetUp() override {
    KmsTest::SetUp();
    const std::string key = FillTables();
    Must(kCfo, "DisableKey", {{"KeyId", key}});
    kms_.reset();
    secrets_ = std::make_unique<RootSecrets>(RootKey(CopySecret(root_)));
    keys_ = ReadFile(folder_ + "/keys.db");
    log_ = ReadFile(folder_ + "/audit.log");
    ASSERT_EQ(keys_.size() % kPage, 0u);
    WriteFile(work_.At("keys.db"), keys_);
    const auto good = Load();
    ASSERT_TRUE(good.ok()) << good.status().ToString();
    rows_ = *good;
    ASSERT_GT(rows_.size(), 8u);
    auto keys = OpenSqliteKeyStore(work_.At("keys.db"));
    ASSERT_TRUE(keys.ok());
    auto catalog = Catalog::Load(std::move(keys).value(), *secrets_);
    ASSERT_TRUE(catalog.ok());
    sealed_ = (*catalog)->sealed().head;
    audit_key_ = (*catalog)->AuditKey();
  }

  // Load returns what a store that opens holds, as the KMS reads it.
  Result<RowSet> Load() const {
    auto keys = OpenSqliteKeyStore(work_.At("keys.db"));
    if (!keys.ok()) return keys.status();
    auto catalog = Catalog::Load(std::move(keys).value(), *secrets_);
    if (!catalog.ok()) return catalog.status();
    KF_ASSIGN_OR_RETURN(const std::vector<Change> rows, (*catalog)->Rows());
    RowSet all;
    for (const Change& change : rows)
      all[{change.table, change.row.id}] = change.row.body;
    return all;
  }
  // Try opens the key store `bytes`; what it gives is the right data or a refusal.
  void Try(const std::string& bytes, const std::string& what) {
    for (const char* behind : {"-journal", "-wal", "-shm"})
      ::unlink(work_.At(std::string("keys.db") + behind).c_str());
    WriteFile(work_.At("keys.db"), bytes);
    const auto found = Load();
    if (found.ok()) {
      ++harmless_;
      EXPECT_EQ(*found, rows_) << what;
      return;
    }
    ++refused_;
    const Error error = found.status().error();
    EXPECT_TRUE(error == Error::kCorrupt || error == Error::kNotAStore ||
                error == Error::kNewerFormat)
        << what << ": " << found.status().ToString();
    EXPECT_FALSE(found.status().message().empty()) << what;
  }

  // CheckLog opens and verifies the log `text`: kCorrupt with the place, or as it was.
  Status CheckLog(const std::string& text) const {
    WriteFile(work_.At("audit.log"), text);
    auto log = AuditLog::Open(work_.path(), CopySecret(audit_key_), clock_);
    if (!log.ok()) return log.status();
    return (*log)->Verify(sealed_).status();
  }
  // ExpectNamed expects one of `lines` to be named, or the last record, behind which
  // the log ends.
  void ExpectNamed(const std::string& text, const std::vector<size_t>& lines,
                   const std::string& what) {
    ++refused_;
    const Status found = CheckLog(text);
    EXPECT_EQ(found.error(), Error::kCorrupt) << what << found.ToString();
    bool named = found.message().find("last record") != std::string::npos ||
                 found.message().find("was truncated") != std::string::npos;
    for (const size_t line : lines)
      named = named || found.message().find("line " + std::to_string(line) + ")") !=
                           std::string::npos;
    EXPECT_TRUE(named) << what << ": " << found.ToString();
  }
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    std::istringstream in(log_);
    for (std::string line; std::getline(in, line);) lines.push_back(line + "\n");
    return lines;
  }
  static std::string Join(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line;
    return text;
  }
  void Tell(const char* what) const {
    printf("%s: %zu refused, %zu gave the right data\n", what, refused_, harmless_);
  }

  const Work work_;
  std::unique_ptr<RootSecrets> secrets_;
  std::string keys_, log_;
  RowSet rows_;
  AuditHead sealed_;
  SecretBytes audit_key_;
  size_t refused_ = 0, harmless_ = 0;
};

TEST_F(FlippedBytesTest, EachByteOfTheKeyStore) {
  std::string bad = keys_;
  for (size_t at = 0; at < keys_.size(); ++at) {
    // Zeros between the cells of a page are room for rows to come.
    const bool within_room = at > 8 && at + 8 < keys_.size() &&
                             keys_.find_first_not_of('\0', at - 8) > at + 8;
    if (within_room && at % 7 != 0 && !EveryBit()) continue;
    for (const uint8_t mask : MasksAt(at)) {
      bad[at] = static_cast<char>(keys_[at] ^ mask);
      Try(bad, "byte " + std::to_string(at) + " mask " + std::to_string(mask));
      bad[at] = keys_[at];
    }
    if (HasFailure()) return;
  }
  Tell("bytes of the key store");
  EXPECT_GT(refused_, harmless_ / 4);
}

TEST_F(FlippedBytesTest, TheKeyStoreCutAnywhere) {
  for (size_t size = 0; size < keys_.size(); size += EveryBit() ? 1 : 37)
    Try(keys_.substr(0, size), "cut at " + std::to_string(size));
  for (size_t page = 0; page < keys_.size(); page += kPage)
    for (const size_t size : {page, page + 1, page + kPage - 1})
      Try(keys_.substr(0, size), "cut at " + std::to_string(size));
  EXPECT_EQ(harmless_, 0u);
  Tell("lengths of the key store");
}

TEST_F(FlippedBytesTest, PagesOfTheKeyStoreSwapped) {
  const size_t pages = keys_.size() / kPage;
  for (size_t a = 0; a < pages; ++a)
    for (size_t b = 0; b < pages; ++b) {
      if (a == b) continue;
      std::string bad = keys_;
      bad.replace(a * kPage, kPage, keys_, b * kPage, kPage);
      Try(bad, "page " + std::to_string(b) + " over " + std::to_string(a));
      bad.replace(b * kPage, kPage, keys_, a * kPage, kPage);
      Try(bad, "page " + std::to_string(b) + " for " + std::to_string(a));
    }
  Tell("pages of the key store");
}

TEST_F(FlippedBytesTest, EachByteOfTheAuditLog) {
  ASSERT_TRUE(CheckLog(log_).ok());
  std::string bad = log_;
  size_t line = 1;
  for (size_t at = 0; at < log_.size(); ++at) {
    const std::string what =
        "byte " + std::to_string(at) + " of line " + std::to_string(line) + " ";
    std::vector<uint8_t> masks = MasksAt(at);
    masks.push_back(static_cast<uint8_t>(log_[at] ^ '\n'));  // a line more
    for (const uint8_t mask : masks) {
      if (mask == 0) continue;
      bad[at] = static_cast<char>(log_[at] ^ mask);
      ExpectNamed(bad, {line, line + 1}, what);
    }
    bad[at] = log_[at];
    if (log_[at] == '\n') ++line;
    if (HasFailure()) return;
  }
  Tell("bytes of the audit log");
}

TEST_F(FlippedBytesTest, TheAuditLogCutAnywhere) {
  for (size_t size = 0; size < log_.size(); ++size) {
    const Status found = CheckLog(log_.substr(0, size));
    EXPECT_EQ(found.error(), Error::kCorrupt) << size << found.ToString();
    ++refused_;
  }
  Tell("lengths of the audit log");
}

TEST_F(FlippedBytesTest, LinesOfTheAuditLogMoved) {
  const std::vector<std::string> lines = Lines();
  for (size_t a = 0; a < lines.size(); ++a) {
    std::vector<std::string> bad = lines;
    bad.erase(bad.begin() + static_cast<long>(a));
    ExpectNamed(Join(bad), {a + 1}, "without line " + std::to_string(a + 1));
    for (size_t b = 0; b < lines.size(); ++b) {
      bad = lines;
      bad.insert(bad.begin() + static_cast<long>(b), lines[a]);
      ExpectNamed(Join(bad), {b + 1, b + 2, a + 2},
                  "line " + std::to_string(a + 1) + " again");
      bad = lines;
      std::swap(bad[a], bad[b]);
      if (a != b)
        ExpectNamed(Join(bad), {std::min(a, b) + 1},
                    "line " + std::to_string(a + 1) + " moved");
    }
  }
  Tell("lines of the audit log");
}

}  // namespace
}  // namespace keyfold
