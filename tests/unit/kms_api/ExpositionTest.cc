// Does a mount in numbers say what was counted, as Prometheus reads it?
#include <gtest/gtest.h>

#include "kms/api/Exposition.h"

namespace keyfold {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;

class ExpositionTest : public ::testing::Test {
 protected:
  void Expect(const std::string& lines) const {
    const std::string text = Expose(kms_, files_, "1.2.3");
    EXPECT_NE(text.find(lines), std::string::npos) << lines << "is not in\n" << text;
  }

  KmsFigures kms_;
  FileCounts files_;
};

// Upper bounds belong to their buckets, which are cumulative (Prometheus, histograms).
TEST_F(ExpositionTest, CallsOfTheKmsAreAHistogramForEachOperation) {
  const auto took = std::make_shared<Latencies>();
  for (const int one : {40, 50, 51, 6'000, 3'000'000}) took->Note(microseconds(one));
  kms_.counts.durations.push_back({"kms", "Encrypt", took});
  Expect(R"(# TYPE keyfold_kms_call_duration_seconds histogram
keyfold_kms_call_duration_seconds_count{service="kms",operation="Encrypt"} 5
keyfold_kms_call_duration_seconds_sum{service="kms",operation="Encrypt"} 3.006141
keyfold_kms_call_duration_seconds_bucket{service="kms",operation="Encrypt",le="5e-05"} 2
keyfold_kms_call_duration_seconds_bucket{service="kms",operation="Encrypt",le="0.00025"} 3
keyfold_kms_call_duration_seconds_bucket{service="kms",operation="Encrypt",le="0.001"} 3
keyfold_kms_call_duration_seconds_bucket{service="kms",operation="Encrypt",le="0.005"} 3
keyfold_kms_call_duration_seconds_bucket{service="kms",operation="Encrypt",le="0.025"} 4
keyfold_kms_call_duration_seconds_bucket{service="kms",operation="Encrypt",le="0.1"} 4
keyfold_kms_call_duration_seconds_bucket{service="kms",operation="Encrypt",le="0.5"} 4
keyfold_kms_call_duration_seconds_bucket{service="kms",operation="Encrypt",le="2.5"} 4
keyfold_kms_call_duration_seconds_bucket{service="kms",operation="Encrypt",le="+Inf"} 5
)");
}

TEST_F(ExpositionTest, RequestsOfTheKernelAreToo) {
  files_.operations[static_cast<size_t>(FileOperation::kFsync)].Note(microseconds(300));
  Expect(
      "keyfold_fuse_operation_duration_seconds_bucket{operation=\"fsync\",le=\"0."
      "00025\"}"
      " 0\n"
      "keyfold_fuse_operation_duration_seconds_bucket{operation=\"fsync\",le=\"0.001\"}"
      " "
      "1\n");
}

TEST_F(ExpositionTest, WhatEndsIsToldByHowLongItHasStill) {
  kms_.now = TimePoint(hours(1'000'000));
  kms_.keys = {{"a", KeyState::kEnabled, {}, {}},
               {"b", KeyState::kPendingDeletion, kms_.now + hours(24), {}},
               {"c", KeyState::kEnabled, {}, kms_.now + hours(1)},
               {"d", KeyState::kPendingImport, {}, kms_.now - hours(1)}};
  Expect("\nkeyfold_key_deletion_seconds{key_id=\"b\"} 86400\n# ");
  Expect(
      "\nkeyfold_key_expiry_seconds{key_id=\"c\"} 3600\n"
      "keyfold_key_expiry_seconds{key_id=\"d\"} -3600\n# ");
  Expect("keyfold_keys{state=\"Enabled\"} 2\nkeyfold_keys{state=\"Disabled\"} 0\n");
}

TEST_F(ExpositionTest, RefusalsOfCallsAndFilesAreOneFamily) {
  kms_.counts.calls = {{"kms", "Encrypt", Error::kOk, 7},
                       {"kms", "Encrypt", Error::kAccessDenied, 2}};
  kms_.counts.file_uses = {{KeyUse::kRead, Error::kAccessDenied, 3},
                           {KeyUse::kWrite, Error::kDisabled, 4}};
  Expect(
      "keyfold_kms_calls_total{service=\"kms\",operation=\"Encrypt\",result=\"ok\"} "
      "7\n");
  Expect("keyfold_refusals_total{reason=\"AccessDeniedException\"} 5\n");
  Expect("keyfold_refusals_total{reason=\"DisabledException\"} 4\n");
}

TEST_F(ExpositionTest, WhatIsNotThereYetIsZeroSoThatItsFirstIsAStep) {
  Expect("keyfold_refusals_total{reason=\"AccessDeniedException\"} 0\n");
  Expect("keyfold_keys{state=\"PendingDeletion\"} 0\n");
  Expect("keyfold_build_info{version=\"1.2.3\"} 1\n");
}

}  // namespace
}  // namespace keyfold
