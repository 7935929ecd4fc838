#include "kms/api/Exposition.h"

#include <prometheus/text_serializer.h>

#include <map>
#include <utility>
#include <vector>

namespace keyfold {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

std::string Text(std::string_view view) { return std::string(view); }
std::string Outcome(Error error) {
  return error == Error::kOk ? "ok" : Text(ErrorName(error));
}

double Seconds(TimePoint::duration time) {
  return std::chrono::duration<double>(time).count();
}

// Families collects metrics, in the order in which they are shown.
class Families {
 public:
  void Begin(std::string name, std::string help, MetricType type) {
    all_.push_back({std::move(name), std::move(help), type, {}});
  }
  void Counter(Labels labels, uint64_t value) {
    Add(std::move(labels)).counter.value = static_cast<double>(value);
  }
  void Gauge(Labels labels, double value) {
    Add(std::move(labels)).gauge.value = value;
  }
  void Histogram(Labels labels, const Latencies& of) {
    auto& histogram = Add(std::move(labels)).histogram;
    uint64_t sum = 0;
    for (size_t i = 0; i < of.buckets.size(); ++i) {
      sum += of.buckets[i].load(std::memory_order_relaxed);
      if (i < kLatencyBounds.size())
        histogram.bucket.push_back(
            {sum, std::chrono::duration<double>(kLatencyBounds[i]).count()});
    }
    histogram.sample_count = sum;
    histogram.sample_sum =
        static_cast<double>(of.nanoseconds.load(std::memory_order_relaxed)) / 1e9;
  }
  // One is a family of one counter or gauge.
  void OneCounter(std::string name, std::string help, uint64_t value) {
    Begin(std::move(name), std::move(help), MetricType::Counter);
    Counter({}, value);
  }
  void OneGauge(std::string name, std::string help, double value) {
    Begin(std::move(name), std::move(help), MetricType::Gauge);
    Gauge({}, value);
  }
  std::string Write() const { return prometheus::TextSerializer().Serialize(all_); }

 private:
  ClientMetric& Add(Labels labels) {
    ClientMetric& metric = all_.back().metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }
  std::vector<MetricFamily> all_;
};

void AddFiles(Families* out, const FileCounts& files) {
  const auto now = [](const SharedCount& count) {
    return count.load(std::memory_order_relaxed);
  };
  out->Begin("keyfold_fuse_operation_duration_seconds",
             "How long the daemon took for requests of the kernel, and how many there "
             "were",
             MetricType::Histogram);
  for (size_t i = 0; i < kFileOperations; ++i)
    out->Histogram({{"operation", Text(kFileOperationNames[i])}}, files.operations[i]);
  out->Begin("keyfold_fuse_failures_total",
             "Requests of the kernel that failed, by why; what programs are told every "
             "day, such as that there is no such file, is left out",
             MetricType::Counter);
  for (size_t i = 0; i < kFileFailures; ++i)
    out->Counter({{"reason", Text(kFileFailureNames[i])}}, now(files.failures[i]));
  out->OneCounter("keyfold_fuse_read_bytes_total", "Contents given to the kernel",
                  now(files.read_bytes));
  out->OneCounter("keyfold_fuse_written_bytes_total", "Contents taken from the kernel",
                  now(files.written_bytes));
  out->OneGauge("keyfold_open_files", "Files whose data keys are in memory",
                static_cast<double>(now(files.open_files)));
  out->OneGauge("keyfold_open_handles", "Descriptors of programs on those files",
                static_cast<double>(now(files.open_handles)));
  out->Begin("keyfold_data_keys_total",
             "Opens of files: those that found the data key in memory, and those that "
             "had it unwrapped",
             MetricType::Counter);
  out->Counter({{"source", "memory"}}, now(files.keys_reused));
  out->Counter({{"source", "unwrapped"}}, now(files.keys_unwrapped));
  out->OneCounter("keyfold_revoked_handles_total",
                  "Handles taken away because a right to their file had ended",
                  now(files.revoked_handles));
}

void AddCalls(Families* out, const CallCounts::Snapshot& counts) {
  out->Begin("keyfold_file_uses_total", "Decisions about files, by what was asked for",
             MetricType::Counter);
  for (const auto& use : counts.file_uses)
    out->Counter({{"use", KeyUseName(use.use)}, {"result", Outcome(use.outcome)}},
                 use.count);
  out->Begin("keyfold_kms_calls_total", "Calls of the KMS's interfaces",
             MetricType::Counter);
  for (const auto& call : counts.calls)
    out->Counter({{"service", Text(call.service)},
                  {"operation", Text(call.operation)},
                  {"result", Outcome(call.outcome)}},
                 call.count);
  out->Begin("keyfold_kms_call_duration_seconds",
             "How long calls of the KMS's interfaces took, however they ended",
             MetricType::Histogram);
  for (const auto& call : counts.durations)
    out->Histogram(
        {{"service", Text(call.service)}, {"operation", Text(call.operation)}},
        *call.took);
  std::map<Error, uint64_t> refusals;
  for (const auto& use : counts.file_uses) refusals[use.outcome] += use.count;
  for (const auto& call : counts.calls) refusals[call.outcome] += call.count;
  refusals.erase(Error::kOk);
  out->Begin("keyfold_refusals_total", "Refusals and failures of both, by why",
             MetricType::Counter);
  refusals.try_emplace(Error::kAccessDenied);  // so that a first one is a step
  for (const auto& [error, count] : refusals)
    out->Counter({{"reason", Text(ErrorName(error))}}, count);
  out->OneCounter("keyfold_refused_requests_total",
                  "Requests over TCP that were not accepted as those of who sent them",
                  counts.refused_requests);
}

void AddKeys(Families* out, const KmsFigures& kms) {
  out->Begin("keyfold_keys", "Keys in each state", MetricType::Gauge);
  std::map<KeyState, size_t> states{{KeyState::kEnabled, 0},
                                    {KeyState::kDisabled, 0},
                                    {KeyState::kPendingImport, 0},
                                    {KeyState::kPendingDeletion, 0}};
  for (const auto& key : kms.keys) ++states[key.state];
  for (const auto& [state, count] : states)
    out->Gauge({{"state", Text(StateName(state))}}, static_cast<double>(count));
  out->Begin("keyfold_key_deletion_seconds",
             "How long until a key whose deletion is scheduled is destroyed",
             MetricType::Gauge);
  for (const auto& key : kms.keys)
    if (key.deletion)
      out->Gauge({{"key_id", key.id}}, Seconds(*key.deletion - kms.now));
  out->Begin("keyfold_key_expiry_seconds",
             "How long until a key's imported material expires", MetricType::Gauge);
  for (const auto& key : kms.keys)
    if (key.expiry) out->Gauge({{"key_id", key.id}}, Seconds(*key.expiry - kms.now));
  out->OneGauge("keyfold_aliases", "Aliases", static_cast<double>(kms.aliases));
  out->OneGauge("keyfold_grants", "Grants", static_cast<double>(kms.grants));
  out->OneCounter("keyfold_audit_records_total", "Records of the audit log",
                  kms.audit_records);
  out->OneGauge("keyfold_root_key_available",
                "1 while what unseals the root key is there, else 0",
                kms.root_key_there ? 1 : 0);
}

}  // namespace

std::string Expose(const KmsFigures& kms, const FileCounts& files,
                   const std::string& version) {
  Families out;
  out.Begin("keyfold_build_info", "The program", MetricType::Gauge);
  out.Gauge({{"version", version}}, 1);
  AddFiles(&out, files);
  AddCalls(&out, kms.counts);
  AddKeys(&out, kms);
  return out.Write();
}

}  // namespace keyfold
