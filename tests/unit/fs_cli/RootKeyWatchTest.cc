// Does a daemon whose token or TPM is gone refuse, wait, wipe and recover?
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "../kms_rootkey/SoftHsm.h"
#include "fs/cli/Remembered.h"
#include "fs/cli/RootKeyWatch.h"
#include "kms/crypto/Crypto.h"

namespace keyfold {
namespace {

using nlohmann::json;
using std::chrono::seconds;
namespace files = std::filesystem;

constexpr auto kGrace = seconds(60);

// HangingDevice does not answer until it is let go.
class HangingDevice : public RootKeyDevice {
 public:
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool shut = false;
    int waiting = 0;
    void Set(bool value) {
      std::lock_guard lock(mutex);
      shut = value;
      changed.notify_all();
    }
    void AwaitOne() {
      std::unique_lock lock(mutex);
      changed.wait(lock, [this] { return waiting > 0; });
    }
  };
  explicit HangingDevice(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
  Status Check() override {
    std::unique_lock lock(gate_->mutex);
    ++gate_->waiting;
    gate_->changed.notify_all();
    gate_->changed.wait(lock, [this] { return !gate_->shut; });
    --gate_->waiting;
    return OkStatus();
  }

 private:
  const std::shared_ptr<Gate> gate_;
};

// A real Kms whose root key a real token seals.
class RootKeyWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    hsm_.MakeToken("keyfold");
    spec_ = hsm_.Uri("keyfold", "root", "&pin-source=file:" + hsm_.PinFile("1234"));
    auto sealed = CreateRootKey(spec_, nullptr);
    ASSERT_TRUE(sealed.ok()) << sealed.status().ToString();
    description_ = sealed->description;
    Account account;
    account.store_id = RandomUuid();
    account.root_uid = getuid();
    auto keys = CreateSqliteKeyStore(hsm_.folder() + "/keys.db");
    ASSERT_TRUE(keys.ok()) << keys.status().ToString();
    ASSERT_TRUE(Kms::Create(**keys, sealed->key, account, clock_).ok());
    auto kms =
        Kms::Open(std::move(*keys), std::move(sealed->key), hsm_.folder(), clock_);
    ASSERT_TRUE(kms.ok()) << kms.status().ToString();
    kms_ = std::move(*kms);
    key_ = Call("kms", "CreateKey", json::object()).value()["KeyMetadata"]["KeyId"];
    auto device = WatchRootKey(description_, "");
    ASSERT_TRUE(device.ok()) << device.status().ToString();
    Watch(std::move(*device));
  }
  void Watch(std::unique_ptr<RootKeyDevice> device) {
    watch_ = std::make_unique<RootKeyWatch>(
        std::move(device),
        [this] {
          ++unsealed_;
          return UnsealRootKey(description_, "", answer_.Again());
        },
        *kms_, clock_, kGrace);
  }
  Result<json> Call(const char* service, const char* operation, const json& request) {
    Caller caller;
    caller.uid = getuid();
    caller.gid = getgid();
    caller.pid = getpid();
    return kms_->Call(caller, service, operation, request);
  }
  Error Encrypt() {
    return Call("kms", "Encrypt", {{"KeyId", key_}, {"Plaintext", "AAAA"}})
        .status()
        .error();
  }
  void TakeAway() { files::rename(hsm_.tokens(), hsm_.tokens() + ".away"); }
  void PutBack() { files::rename(hsm_.tokens() + ".away", hsm_.tokens()); }
  void Lose() {
    TakeAway();
    for (int i = 0; i < 2; ++i) EXPECT_EQ(watch_->Probe().error(), Error::kUnavailable);
  }
  size_t Records(const char* event) {
    size_t count = 0;
    const json found = Call("audit", "LookupEvents", json::object()).value();
    for (const json& one : found["Events"]) count += one["eventName"] == event;
    return count;
  }

  SoftHsm hsm_;
  std::string spec_, key_;
  json description_;
  FakeClock clock_{TimePoint(std::chrono::milliseconds(1767225600000))};
  Remembered answer_;
  std::unique_ptr<Kms> kms_;
  int unsealed_ = 0;
  std::unique_ptr<RootKeyWatch> watch_;
};

TEST_F(RootKeyWatchTest, NothingHappensWhileTheTokenIsThere) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(watch_->Probe().ok());
    clock_.Advance(kGrace);
    watch_->Tick();
  }
  EXPECT_EQ(Encrypt(), Error::kOk);
  EXPECT_EQ(unsealed_, 0);
  EXPECT_EQ(Records("RootKeyUnavailable"), 0u);
}

TEST_F(RootKeyWatchTest, OneMissIsNotYetALoss) {
  EXPECT_TRUE(watch_->Probe().ok());
  TakeAway();
  EXPECT_EQ(watch_->Probe().error(), Error::kUnavailable);
  EXPECT_EQ(Encrypt(), Error::kOk);
  PutBack();
  EXPECT_TRUE(watch_->Probe().ok());
  TakeAway();
  EXPECT_EQ(watch_->Probe().error(), Error::kUnavailable);
  EXPECT_EQ(Encrypt(), Error::kOk);
  EXPECT_EQ(watch_->Probe().error(), Error::kUnavailable);
  EXPECT_EQ(Encrypt(), Error::kUnavailable);
}

TEST_F(RootKeyWatchTest, KeysAreWipedAfterTheGraceAndUnsealedWhenItIsBack) {
  Lose();
  EXPECT_EQ(Encrypt(), Error::kUnavailable);
  clock_.Advance(kGrace - seconds(1));
  watch_->Tick();
  EXPECT_EQ(kms_->TimesWiped(), 0u);
  clock_.Advance(seconds(1));
  watch_->Tick();
  EXPECT_EQ(kms_->TimesWiped(), 1u);
  clock_.Advance(kGrace);
  watch_->Tick();
  EXPECT_EQ(kms_->TimesWiped(), 1u);
  EXPECT_EQ(watch_->Probe().error(), Error::kUnavailable);
  EXPECT_EQ(unsealed_, 0);
  PutBack();
  EXPECT_TRUE(watch_->Probe().ok());
  EXPECT_EQ(unsealed_, 1);
  EXPECT_EQ(Encrypt(), Error::kOk);
  EXPECT_EQ(Records("RootKeyUnavailable"), 1u);
  EXPECT_EQ(Records("RootKeyAvailable"), 1u);
  // And once more, with a grace of its own.
  Lose();
  watch_->Tick();
  EXPECT_EQ(kms_->TimesWiped(), 1u);
  clock_.Advance(kGrace);
  watch_->Tick();
  EXPECT_EQ(kms_->TimesWiped(), 2u);
}

TEST_F(RootKeyWatchTest, ATokenThatIsBackInTimeIsUnsealedAnewToo) {
  Lose();
  PutBack();
  EXPECT_TRUE(watch_->Probe().ok());
  EXPECT_EQ(unsealed_, 1);
  clock_.Advance(kGrace);
  watch_->Tick();
  EXPECT_EQ(kms_->TimesWiped(), 0u);
  EXPECT_EQ(Encrypt(), Error::kOk);
}

TEST_F(RootKeyWatchTest, AClockThatIsSetBackEndsTheGrace) {
  Lose();
  clock_.Advance(seconds(-1));
  watch_->Tick();
  EXPECT_EQ(kms_->TimesWiped(), 1u);
}

TEST_F(RootKeyWatchTest, ARefusedTokenIsNotTriedAgainUntilItWasAway) {
  hsm_.PinFile("4321");
  Lose();
  PutBack();
  EXPECT_EQ(watch_->Probe().error(), Error::kWrongCredential);
  EXPECT_EQ(watch_->Probe().error(), Error::kWrongCredential);
  EXPECT_EQ(unsealed_, 1);
  EXPECT_EQ(Encrypt(), Error::kUnavailable);
  EXPECT_EQ(Records("RootKeyUnavailable"), 2u);  // gone, and then refused
  TakeAway();
  EXPECT_EQ(watch_->Probe().error(), Error::kUnavailable);
  hsm_.PinFile("1234");
  PutBack();
  EXPECT_TRUE(watch_->Probe().ok());
  EXPECT_EQ(unsealed_, 2);
  EXPECT_EQ(Encrypt(), Error::kOk);
}

TEST_F(RootKeyWatchTest, AnotherTokenOfThatNameOpensNothing) {
  Lose();
  files::create_directory(hsm_.tokens());
  hsm_.MakeToken("keyfold");
  EXPECT_EQ(watch_->Probe().error(), Error::kWrongCredential);
  EXPECT_EQ(Encrypt(), Error::kUnavailable);
  files::remove_all(hsm_.tokens());
  PutBack();
}

TEST_F(RootKeyWatchTest, AnAnswerThatWasAskedForOpensItAgain) {
  description_["uri"] = hsm_.Uri("keyfold", "root", "");
  Lose();
  PutBack();
  EXPECT_EQ(watch_->Probe().error(), Error::kUsage);  // nobody was asked
  EXPECT_EQ(Encrypt(), Error::kUnavailable);
  const auto ask = answer_.Asking([](Asked) -> Result<SecretBytes> {
    Bytes pin = {'1', '2', '3', '4'};
    return SecretFrom(pin);
  });
  ASSERT_TRUE(UnsealRootKey(description_, "", ask).ok());
  EXPECT_TRUE(watch_->Probe().ok());
  EXPECT_EQ(Encrypt(), Error::kOk);
  answer_.Forget();
  EXPECT_EQ(answer_.Again()(Asked::kPin).status().error(), Error::kUsage);
}

TEST_F(RootKeyWatchTest, ADeviceThatHangsIsGoneAndHoldsNobodyUp) {
  const auto gate = std::make_shared<HangingDevice::Gate>();
  Watch(std::make_unique<HangingDevice>(gate));
  gate->Set(true);
  std::thread asking([this] { EXPECT_TRUE(watch_->Probe().ok()); });
  while (Encrypt() == Error::kOk) {
    clock_.Advance(seconds(1));
    watch_->Tick();
    std::this_thread::yield();
  }
  EXPECT_EQ(Encrypt(), Error::kUnavailable);
  clock_.Advance(kGrace);
  watch_->Tick();
  EXPECT_EQ(kms_->TimesWiped(), 1u);
  gate->Set(false);
  asking.join();
  EXPECT_EQ(Encrypt(), Error::kOk);
  // Its end waits for no device.
  gate->Set(true);
  watch_->Start();
  gate->AwaitOne();
  const auto began = std::chrono::steady_clock::now();
  watch_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, seconds(4));
  gate->Set(false);
}

}  // namespace
}  // namespace keyfold
