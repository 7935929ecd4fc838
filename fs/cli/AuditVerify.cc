// keyfold audit verify, public-key, and what is done with whole files of the log.
#include "fs/cli/AuditWords.h"
#include "fs/cli/Output.h"
#include "fs/cli/Parameters.h"
#include "kms/audit/AuditChain.h"
#include "kms/audit/AuditDigest.h"

namespace keyfold {
namespace {

using nlohmann::json;

constexpr size_t kMaxKeys = 64 << 10;

std::string Count(const json& answer, const char* name) {
  return Cell(answer.value(name, json(0)));
}

std::string Verdict(const json& answer) {
  std::string text = "The audit log is whole: " + Count(answer, "Records") +
                     " records in " + Count(answer, "Files") + " file" +
                     (answer.value("Files", 1) == 1 ? "" : "s") + ".\n";
  if (answer.value("FirstRecord", uint64_t{1}) > 1)
    text += "It begins with record " + Count(answer, "FirstRecord") +
            "; archives before were released.\n";
  if (answer.value("Digests", 0) > 0)
    text += Count(answer, "Digests") +
            (answer.value("Digests", 0) == 1 ? " digest signs" : " digests sign") +
            " records up to " + Count(answer, "SignedRecords") + " (" +
            answer.value("SignedAt", "") + ").\n";
  return text;
}

Status VerifyCopies(const AuditWords& words) {
  if (words.public_key.empty())
    return {Error::kUsage,
            "A copy is checked against a public key. Give --public-key FILE, which "
            "'keyfold audit public-key' made."};
  KF_ASSIGN_OR_RETURN(const std::string pem, ReadTextFile(words.public_key, kMaxKeys));
  std::vector<Bytes> signers = ParsePublicKeys(pem);
  if (signers.empty())
    return {Error::kUsage, words.public_key + " holds no public key (PEM)."};
  KF_ASSIGN_OR_RETURN(const AuditSummary found,
                      VerifyCopy(words.copies, std::move(signers)));
  if (found.digests == 0)
    return {
        Error::kCorrupt,
        "The records form a chain, but no digest signs them: they may be anybody's."};
  const json answer = {{"FirstRecord", found.first_sequence},
                       {"LastRecord", found.end.sequence},
                       {"Digests", found.digests},
                       {"SignedRecords", found.signed_to},
                       {"SignedAt", found.signed_at}};
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  std::string text = "Records " + std::to_string(found.first_sequence) + " to " +
                     std::to_string(found.signed_to) +
                     " are as the KMS signed them, the last time at " +
                     found.signed_at + ".\n";
  // The record that carries the last digest is the one behind what it signs.
  if (const uint64_t open = found.end.sequence - found.signed_to; open > 1)
    text +=
        "The " + std::to_string(open) + " records behind that are not signed yet.\n";
  return Print(text);
}

}  // namespace

Status VerifyAudit(const AuditWords& words) {
  if (!words.copies.empty()) return VerifyCopies(words);
  if (!words.public_key.empty())
    return {Error::kUsage, "--public-key goes with --copy."};
  KF_ASSIGN_OR_RETURN(const json answer, CallAudit(words, "VerifyLog", json::object()));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  return Print(Verdict(answer));
}

Status ShowPublicKey(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(const json answer,
                      CallAudit(words, "ListPublicKeys", json::object()));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  std::string text;
  for (const json& key : answer.value("PublicKeyList", json::array())) {
    const auto der = FromBase64(key.value("Value", ""));
    if (!der) return {Error::kInternal, "The answer holds no public key."};
    text += PublicKeyPem(*der);
  }
  return Print(text);
}

Status ArchiveAudit(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(const json answer,
                      CallAudit(words, "ArchiveLog", json::object()));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  return Print(answer.value("Archive", "") + "\n");
}

Status ListAuditArchives(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(const json answer,
                      CallAudit(words, "ListArchives", json::object()));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  std::vector<std::vector<std::string>> rows;
  for (const json& archive : answer.value("Archives", json::array()))
    rows.push_back({archive.value("Archive", ""),
                    "records " + Count(archive, "FirstRecord") + " to " +
                        Count(archive, "LastRecord"),
                    archive.value("Released", false) ? "released" : ""});
  return Print(rows.empty() ? std::string("No archives.\n") : Columns(rows));
}

Status ReleaseAudit(const AuditWords& words) {
  KF_ASSIGN_OR_RETURN(const json answer,
                      CallAudit(words, "ReleaseLog", {{"Archive", words.archive}}));
  if (words.format == "json") return Print(answer.dump(4) + "\n");
  return Print("Archives with records up to " + Count(answer, "ReleasedSequence") +
               " may be moved away now.\n");
}

}  // namespace keyfold
