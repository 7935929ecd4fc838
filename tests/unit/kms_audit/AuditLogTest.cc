// Does the log keep every record it accepted, and does verification name what
// was done to it?
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "kms/audit/AuditLog.h"
#include "kms/audit/LineReader.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;

SecretBytes Key(uint8_t fill = 7) {
  Bytes raw(32, fill);
  return SecretFrom(raw);
}

class AuditLogTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/keyfold-audit-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/audit.log";
    Open();
  }
  void TearDown() override {
    log_.reset();
    std::filesystem::remove_all(folder_);
  }
  void Open() {
    log_.reset();
    auto log = AuditLog::Open(folder_, Key(), clock_);
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    log_ = std::move(*log);
  }
  Status Add(const std::string& name) {
    return log_->Append(
        {{"eventName", name},
         {"userIdentity", {{"userName", "cfo"}, {"arn", "arn:aws:iam::0:user/cfo"}}},
         {"resources", {{{"ARN", "arn:aws:kms:l:0:key/k-" + name}}}}},
        AuditRoom::kOrdinary);
  }
  void Fill(int count) {
    for (int i = 1; i <= count; ++i) ASSERT_TRUE(Add(std::to_string(i)).ok());
  }
  std::vector<std::string> Lines() const {
    std::ifstream in(path_, std::ios::binary);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  void Write(const std::string& text) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << text;
  }
  void WriteLines(const std::vector<std::string>& lines) const {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    Write(text);
  }
  std::string Text() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // The message of a failed Verify; empty if it passed.
  std::string Verdict(const std::optional<AuditHead>& at_least = std::nullopt) const {
    auto result = log_->Verify(at_least);
    if (result.ok()) return "";
    EXPECT_EQ(result.status().error(), Error::kCorrupt);
    return result.status().message();
  }

  FakeClock clock_{TimePoint(std::chrono::milliseconds(1767225600000))};  // 2026-01-01
  std::string folder_, path_;
  std::unique_ptr<AuditLog> log_;
};

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(AuditLogTest, NewLogIsEmptyPrivateAndVerifies) {
  EXPECT_EQ(log_->head().sequence, 0u);
  EXPECT_EQ(log_->head().hash, std::string(64, '0'));
  EXPECT_EQ(log_->Verify(std::nullopt)->records, 0u);
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(AuditLog::Open(folder_, Key(), clock_).status().error(), Error::kLocked);
}

TEST_F(AuditLogTest, LineHasTheDocumentedFormat) {
  Fill(2);
  const auto lines = Lines();
  ASSERT_EQ(lines.size(), 2u);
  const json first = json::parse(lines[0]), second = json::parse(lines[1]);
  EXPECT_EQ(first["previousHash"], std::string(64, '0'));
  EXPECT_EQ(second["previousHash"], ToHex(Sha256(AsBytes(lines[0]))));
  EXPECT_EQ(second["sequence"], 2);
  EXPECT_EQ(second["eventTime"], "2026-01-01T00:00:00Z");
  EXPECT_EQ(second["eventID"].get<std::string>().size(), 36u);
  const size_t mac = lines[1].size() - 74;
  const std::string text = lines[1].substr(0, mac) + "}";
  EXPECT_EQ(lines[1].substr(mac),
            ",\"mac\":\"" + ToHex(HmacSha256(Key(), AsBytes(text))) + "\"}");
  EXPECT_EQ(log_->head().hash, ToHex(Sha256(AsBytes(lines[1]))));
}

TEST_F(AuditLogTest, ChainContinuesAfterReopen) {
  Fill(3);
  const AuditHead head = log_->head();
  Open();
  EXPECT_EQ(log_->head().sequence, 3u);
  EXPECT_EQ(log_->head().hash, head.hash);
  Fill(2);
  EXPECT_EQ(log_->Verify(head)->records, 5u);
  EXPECT_TRUE(log_->Append({{"eventName", "x"}}, AuditRoom::kOrdinary).ok());
  EXPECT_TRUE(log_->Sync().ok());
}

TEST_F(AuditLogTest, CallerCannotForgeChainMembers) {
  ASSERT_TRUE(log_->Append({{"mac", "x"}, {"sequence", 99}, {"previousHash", "y"}},
                           AuditRoom::kOrdinary)
                  .ok());
  EXPECT_EQ(log_->Verify(std::nullopt)->records, 1u);
}

TEST_F(AuditLogTest, HostileTextIsRecorded) {
  ASSERT_TRUE(log_->Append({{"path", "a\nb\xff\"}\r"}}, AuditRoom::kOrdinary).ok());
  ASSERT_EQ(Lines().size(), 1u);
  EXPECT_EQ(log_->Verify(std::nullopt)->records, 1u);
}

TEST_F(AuditLogTest, LargestRecordFitsAndLargerIsRefused) {
  EXPECT_EQ(log_->Append({{"requestParameters", std::string(70000, 'x')}},
                         AuditRoom::kOrdinary)
                .error(),
            Error::kValidation);
  EXPECT_EQ(log_->head().sequence, 0u);
  const std::string probe(1, 'x');
  ASSERT_TRUE(log_->Append({{"requestParameters", probe}}, AuditRoom::kOrdinary).ok());
  const size_t fixed = Lines()[0].size() - 1;
  const std::string largest(kMaxLineSize - fixed, 'x');
  ASSERT_TRUE(
      log_->Append({{"requestParameters", largest}}, AuditRoom::kOrdinary).ok());
  EXPECT_FALSE(
      log_->Append({{"requestParameters", largest + "x"}}, AuditRoom::kOrdinary).ok());
  ASSERT_TRUE(log_->Append({{"requestParameters", probe}}, AuditRoom::kOrdinary).ok());
  EXPECT_EQ(log_->Verify(std::nullopt)->records, 3u);
  Open();
  EXPECT_EQ(log_->Read({})->records.size(), 3u);
  json deep;
  for (int i = 0; i < 100; ++i) deep = json{{"d", deep}};
  EXPECT_EQ(log_->Append(deep, AuditRoom::kOrdinary).error(), Error::kInternal);
  EXPECT_EQ(log_->Append("text", AuditRoom::kOrdinary).error(), Error::kInternal);
}

TEST_F(AuditLogTest, WhatWasRefusedIsFoundAlone) {
  Fill(2);
  ASSERT_TRUE(
      log_->Append({{"eventName", "Decrypt"}, {"errorCode", "NotFoundException"}},
                   AuditRoom::kOrdinary)
          .ok());
  Fill(1);
  AuditFilter filter;
  filter.refused = true;
  const auto found = log_->Read(filter)->records;
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0]["errorCode"], "NotFoundException");
}

TEST_F(AuditLogTest, ReadFilters) {
  Fill(3);
  clock_.Advance(std::chrono::hours(1));
  Fill(2);
  EXPECT_EQ(log_->Read({})->records.size(), 5u);
  AuditFilter filter;
  filter.since = "2026-01-01T01:00:00Z";
  EXPECT_EQ(log_->Read(filter)->records.size(), 2u);
  filter = {};
  filter.user = "cfo";
  EXPECT_EQ(log_->Read(filter)->records.size(), 5u);
  filter.user = "arn:aws:iam::0:user/cfo";
  EXPECT_EQ(log_->Read(filter)->records.size(), 5u);
  filter.user = "root";
  EXPECT_EQ(log_->Read(filter)->records.size(), 0u);
  filter = {};
  filter.key = "k-1";
  EXPECT_EQ(log_->Read(filter)->records.size(), 2u);
  filter.key = "arn:aws:kms:l:0:key/k-3";
  EXPECT_EQ(log_->Read(filter)->records.size(), 1u);
  filter = {};
  filter.limit = 2;
  const auto last = log_->Read(filter)->records;
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[0]["sequence"], 4);
  filter = {};
  filter.after_sequence = 5;
  EXPECT_EQ(log_->Read(filter)->records.size(), 0u);
  Fill(1);
  ASSERT_EQ(log_->Read(filter)->records.size(), 1u);
  EXPECT_EQ(log_->Read(filter)->records[0]["sequence"], 6);
  filter.after_sequence = 3;
  EXPECT_EQ(log_->Read(filter)->records.size(), 3u);
}

TEST_F(AuditLogTest, AnyFlippedByteIsNoticed) {
  Fill(3);
  const std::string good = Text();
  for (size_t at = 0; at < good.size(); ++at) {
    for (uint8_t flip : {0x01, 0x20}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ flip);
      Write(bad);
      EXPECT_TRUE(Has(Verdict(), "Audit record ")) << at;
    }
  }
  Write(good);
  EXPECT_EQ(Verdict(), "");
}

TEST_F(AuditLogTest, ChangedRecordIsNamed) {
  Fill(5);
  auto lines = Lines();
  lines[2][20] ^= 1;
  WriteLines(lines);
  EXPECT_TRUE(Has(Verdict(), "record 3 (audit.log, line 3) was changed")) << Verdict();
  // What authenticates is shown, and what does not is named.
  const auto found = log_->Read({});
  EXPECT_EQ(found->records.size(), 4u);
  EXPECT_TRUE(Has(found->damage, "Line 3 of audit.log")) << found->damage;
  EXPECT_EQ(log_->ReadAll({}).status().error(), Error::kCorrupt);
}

TEST_F(AuditLogTest, DeletedRecordIsNamed) {
  Fill(5);
  auto lines = Lines();
  lines.erase(lines.begin() + 2);
  WriteLines(lines);
  EXPECT_TRUE(Has(Verdict(), "record 3 (audit.log, line 3) is missing")) << Verdict();
}

TEST_F(AuditLogTest, SwappedRecordsAreNamed) {
  Fill(5);
  auto lines = Lines();
  std::swap(lines[1], lines[3]);
  WriteLines(lines);
  EXPECT_TRUE(
      Has(Verdict(), "record 2 (audit.log, line 2) was moved to audit.log, line 4"))
      << Verdict();
}

TEST_F(AuditLogTest, RepeatedRecordIsNamed) {
  Fill(5);
  auto lines = Lines();
  lines.insert(lines.begin() + 3, lines[1]);
  WriteLines(lines);
  EXPECT_TRUE(Has(Verdict(), "record 2 (audit.log, line 4) was moved or repeated"))
      << Verdict();
}

TEST_F(AuditLogTest, TruncationIsNoticedWithTheSealedHead) {
  Fill(5);
  const AuditHead head = log_->head();
  auto lines = Lines();
  lines.resize(3);
  WriteLines(lines);
  EXPECT_TRUE(Has(Verdict(), "record 4 is missing: the log was truncated"))
      << Verdict();
  Open();
  EXPECT_EQ(Verdict(), "");  // the chain alone cannot tell
  EXPECT_TRUE(Has(Verdict(head), "truncated"));
  Fill(2);  // rewritten history of the same length
  EXPECT_TRUE(Has(Verdict(head), "not the record that was sealed")) << Verdict(head);
}

TEST_F(AuditLogTest, RemovedOrReplacedFileIsNoticed) {
  Fill(2);
  std::filesystem::copy_file(path_, path_ + ".copy");
  std::filesystem::rename(path_ + ".copy", path_);
  EXPECT_TRUE(Has(Verdict(), "replaced"));
  EXPECT_EQ(Add("x").error(), Error::kCorrupt);
  std::filesystem::remove(path_);
  EXPECT_TRUE(Has(Verdict(), "removed"));
}

TEST_F(AuditLogTest, AppendRefusesAFileChangedByOthers) {
  Fill(2);
  std::ofstream(path_, std::ios::app) << "{}\n";
  EXPECT_EQ(Add("x").error(), Error::kCorrupt);
  EXPECT_NE(Verdict(), "");
}

TEST_F(AuditLogTest, AnotherKeyDoesNotOpenTheLog) {
  Fill(1);
  log_.reset();
  EXPECT_EQ(AuditLog::Open(folder_, Key(8), clock_).status().error(), Error::kCorrupt);
}

TEST_F(AuditLogTest, TornEndIsKeptAsideAtEveryLength) {
  Fill(3);
  const std::string good = Text();
  const size_t second_ends = good.find('\n', good.find('\n') + 1) + 1;
  int torn = 0;
  for (size_t size = second_ends; size < good.size(); size += 37) {
    Write(good.substr(0, size));
    Open();
    ASSERT_EQ(log_->head().sequence, 2u) << size;
    EXPECT_EQ(log_->Verify(std::nullopt)->records, 2u);
    EXPECT_EQ(Text().size(), size) << "changed by looking";
    ASSERT_TRUE(Add("after").ok());
    if (size == second_ends) continue;
    ++torn;
    std::ifstream in(path_ + ".torn-" + std::to_string(torn), std::ios::binary);
    const std::string kept((std::istreambuf_iterator<char>(in)), {});
    EXPECT_EQ(kept, good.substr(second_ends, size - second_ends));
  }
  EXPECT_EQ(log_->Verify(std::nullopt)->records, 3u);
}

TEST_F(AuditLogTest, TornEndLargerThanAnyLine) {
  Write(std::string(300000, '\0'));
  Open();
  EXPECT_EQ(log_->head().sequence, 0u);
  ASSERT_TRUE(Add("first").ok());
  EXPECT_EQ(std::filesystem::file_size(path_ + ".torn-1"), 300000u);
}

TEST_F(AuditLogTest, ConcurrentAppendsMakeOneChain) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([this, t] {
      for (int i = 0; i < 250; ++i) {
        EXPECT_TRUE(log_->Append({{"t", t}, {"i", i}}, AuditRoom::kOrdinary).ok());
        if (i % 100 == 0) {
          EXPECT_TRUE(log_->Verify(std::nullopt).ok());
        }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(log_->Verify(log_->head())->records, 1000u);
}

TEST_F(AuditLogTest, FullDiskRefusesAndLeavesAWholeLog) {
  Fill(2);
  log_.reset();
  const pid_t child = fork();
  if (child == 0) {
    auto log = AuditLog::Open(folder_, Key(), clock_);
    if (!log.ok()) _exit(1);
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlim_t old = limit.rlim_cur;
    limit.rlim_cur = std::filesystem::file_size(path_) + 100;
    setrlimit(RLIMIT_FSIZE, &limit);
    if ((*log)->Append({{"a", 1}}, AuditRoom::kOrdinary).error() != Error::kSystem)
      _exit(2);
    if ((*log)->head().sequence != 2) _exit(3);
    if (!(*log)->Verify(std::nullopt).ok()) _exit(4);
    limit.rlim_cur = old;
    setrlimit(RLIMIT_FSIZE, &limit);
    _exit((*log)->Append({{"a", 1}}, AuditRoom::kOrdinary).ok() ? 0 : 5);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  Open();
  EXPECT_EQ(log_->Verify(std::nullopt)->records, 3u);
}

TEST_F(AuditLogTest, AppendIsFast) {
  const auto start = std::chrono::steady_clock::now();
  Fill(2000);
  const double each = std::chrono::duration<double, std::micro>(
                          std::chrono::steady_clock::now() - start)
                          .count() /
                      2000;
  RecordProperty("microseconds_per_append", std::to_string(each));
  std::cout << each << " us per append\n";
}

}  // namespace
}  // namespace keyfold
