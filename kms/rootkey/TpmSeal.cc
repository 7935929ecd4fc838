#include "kms/rootkey/TpmSeal.h"

#include <stdlib.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include <cstring>
#include <memory>
#include <mutex>

#include "kms/crypto/Crypto.h"
#include "kms/rootkey/WipedBytes.h"

namespace keyfold {
namespace {

constexpr unsigned kMostPcrs = 24;
constexpr ESYS_TR kNone = ESYS_TR_NONE;

template <typename T>
struct Freed {
  void operator()(T* memory) const { Esys_Free(memory); }
};
template <typename T>
using Owned = std::unique_ptr<T, Freed<T>>;

// Out takes what a function hands out, for the length of the call.
template <typename T>
class Out {
 public:
  explicit Out(Owned<T>* into) : into_(into) {}
  ~Out() { into_->reset(raw_); }
  Out(const Out&) = delete;
  Out& operator=(const Out&) = delete;
  operator T**() { return &raw_; }  // NOLINT: an argument

 private:
  Owned<T>* into_;
  T* raw_ = nullptr;
};

// CodeOf is the TPM's own code without the number of its argument, Part 2 6.6.
TSS2_RC CodeOf(TSS2_RC rc) {
  if ((rc & TSS2_RC_LAYER_MASK) != 0) return rc;
  return (rc & TPM2_RC_FMT1) != 0 ? rc & (TPM2_RC_FMT1 | 0x3f) : rc;
}

Status Failed(const char* command, TSS2_RC rc) {
  const std::string why = std::string(command) + ": " + Tss2_RC_Decode(rc) + ".";
  if ((rc & TSS2_RC_LAYER_MASK) == TSS2_TCTI_RC_LAYER)
    return {Error::kUnavailable, "The TPM does not answer. " + why};
  switch (CodeOf(rc)) {
    case TPM2_RC_LOCKOUT:
      return {Error::kWrongCredential,
              "The TPM is locked after wrong authorizations. Wait, or clear it with "
              "tpm2_dictionarylockout. " +
                  why};
    case TPM2_RC_AUTH_FAIL:
    case TPM2_RC_BAD_AUTH:
      return {Error::kWrongCredential,
              "The TPM does not accept the authorization. It was tried once. " + why};
    default:
      return {Error::kInternal, "The TPM refused " + why};
  }
}

#define KF_TPM(command, ...)                                      \
  do {                                                            \
    const TSS2_RC kf_rc = command(__VA_ARGS__);                   \
    if (kf_rc != TSS2_RC_SUCCESS) return Failed(#command, kf_rc); \
  } while (false)

// Tpm is a connection to one, with the objects made through it.
class Tpm {
 public:
  static Result<std::unique_ptr<Tpm>> Open(const std::string& tcti) {
    KF_RETURN_IF_ERROR(CheckTcti(tcti));
    // The library's own log is no part of ours.
    static std::once_flag quiet;
    std::call_once(quiet, [] { setenv("TSS2_LOG", "all+none", 0); });
    std::unique_ptr<Tpm> tpm(new Tpm());
    TSS2_RC rc = Tss2_TctiLdr_Initialize(tcti.c_str(), &tpm->tcti_);
    if (rc == TSS2_RC_SUCCESS) rc = Esys_Initialize(&tpm->esys_, tpm->tcti_, nullptr);
    if (rc != TSS2_RC_SUCCESS)
      return Status(Error::kUnavailable, "No TPM answers at " + tcti + ": " +
                                             Tss2_RC_Decode(rc) +
                                             ". Name another way with tcti=.");
    return tpm;
  }
  ~Tpm() {
    for (const ESYS_TR* handle : {&sealed_, &session_, &root_})
      if (*handle != kNone) Esys_FlushContext(esys_, *handle);
    if (esys_ != nullptr) Esys_Finalize(&esys_);
    if (tcti_ != nullptr) Tss2_TctiLdr_Finalize(&tcti_);
  }
  Tpm(const Tpm&) = delete;
  Tpm& operator=(const Tpm&) = delete;

  Status Ask();
  Status MakeStorageRoot();
  const Bytes& root_name() const { return root_name_; }
  Status ReadPcrs(PcrValues* pcrs);
  Result<Bytes> PolicyFor(const PcrValues& pcrs);
  Status Seal(const Bytes& policy, const SecretBytes& auth, const SecretBytes& secret,
              TpmBlob* blob);
  Status Load(const TpmBlob& blob);
  Result<SecretBytes> Unseal(const PcrValues& pcrs, const SecretBytes& auth);

 private:
  Tpm() = default;
  // Begin starts a session salted to the storage root key; one at a time.
  Status Begin(TPM2_SE type);
  Status SatisfyPolicy(const PcrValues& pcrs);

  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
  ESYS_TR root_ = kNone, session_ = kNone, sealed_ = kNone;
  Bytes root_name_;
};

TPML_PCR_SELECTION SelectionOf(const PcrValues& pcrs) {
  TPML_PCR_SELECTION out{};
  out.count = 1;
  out.pcrSelections[0].hash = TPM2_ALG_SHA256;
  out.pcrSelections[0].sizeofSelect = 3;
  for (const auto& [pcr, value] : pcrs)
    out.pcrSelections[0].pcrSelect[pcr / 8] |= static_cast<BYTE>(1 << (pcr % 8));
  return out;
}

Status Tpm::Ask() {
  Owned<TPMS_CAPABILITY_DATA> data;
  TPMI_YES_NO more = 0;
  KF_TPM(Esys_GetCapability, esys_, kNone, kNone, kNone, TPM2_CAP_TPM_PROPERTIES,
         TPM2_PT_MANUFACTURER, 1, &more, Out(&data));
  return OkStatus();
}

Status Tpm::MakeStorageRoot() {
  TPM2B_PUBLIC shape{};
  TPMT_PUBLIC& area = shape.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                          TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                          TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED |
                          TPMA_OBJECT_DECRYPT;
  TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
  ecc.symmetric.algorithm = TPM2_ALG_AES;
  ecc.symmetric.keyBits.aes = 128;
  ecc.symmetric.mode.aes = TPM2_ALG_CFB;
  ecc.scheme.scheme = TPM2_ALG_NULL;
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  area.unique.ecc.x.size = area.unique.ecc.y.size = 32;
  const TPM2B_SENSITIVE_CREATE nothing{};
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};
  Owned<TPM2B_PUBLIC> made;
  Owned<TPM2B_CREATION_DATA> data;
  Owned<TPM2B_DIGEST> hash;
  Owned<TPMT_TK_CREATION> ticket;
  KF_TPM(Esys_CreatePrimary, esys_, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, kNone, kNone,
         &nothing, &shape, &outside, &no_pcrs, &root_, Out(&made), Out(&data),
         Out(&hash), Out(&ticket));
  Owned<TPM2B_NAME> name;
  KF_TPM(Esys_TR_GetName, esys_, root_, Out(&name));
  root_name_.assign(name->name, name->name + name->size);
  return OkStatus();
}

Status Tpm::Begin(TPM2_SE type) {
  if (session_ != kNone) {
    Esys_FlushContext(esys_, session_);
    session_ = kNone;
  }
  TPMT_SYM_DEF cipher{};
  cipher.algorithm = TPM2_ALG_AES;
  cipher.keyBits.aes = 128;
  cipher.mode.aes = TPM2_ALG_CFB;
  KF_TPM(Esys_StartAuthSession, esys_, root_, kNone, kNone, kNone, kNone, nullptr, type,
         &cipher, TPM2_ALG_SHA256, &session_);
  const TPMA_SESSION both = TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT;
  if (type != TPM2_SE_TRIAL)
    KF_TPM(Esys_TRSess_SetAttributes, esys_, session_,
           both | TPMA_SESSION_CONTINUESESSION, 0xff);
  return OkStatus();
}

Status Tpm::ReadPcrs(PcrValues* pcrs) {
  for (auto& [pcr, value] : *pcrs) {
    const TPML_PCR_SELECTION one = SelectionOf({{pcr, {}}});
    UINT32 counter = 0;
    Owned<TPML_PCR_SELECTION> read;
    Owned<TPML_DIGEST> digests;
    KF_TPM(Esys_PCR_Read, esys_, kNone, kNone, kNone, &one, &counter, Out(&read),
           Out(&digests));
    if (digests->count != 1)
      return {Error::kUsage, "The TPM has no PCR " + std::to_string(pcr) +
                                 " in its bank sha256. Name others with pcrs=."};
    const TPM2B_DIGEST& digest = digests->digests[0];
    value.assign(digest.buffer, digest.buffer + digest.size);
  }
  return OkStatus();
}

// SatisfyPolicy goes through the policy in `session_`: the PCRs, if any, as they are
// now, then the authorization value, which may be empty.
Status Tpm::SatisfyPolicy(const PcrValues& pcrs) {
  if (!pcrs.empty()) {
    const TPML_PCR_SELECTION selection = SelectionOf(pcrs);
    const TPM2B_DIGEST as_they_are{};
    KF_TPM(Esys_PolicyPCR, esys_, session_, kNone, kNone, kNone, &as_they_are,
           &selection);
  }
  KF_TPM(Esys_PolicyAuthValue, esys_, session_, kNone, kNone, kNone);
  return OkStatus();
}

Result<Bytes> Tpm::PolicyFor(const PcrValues& pcrs) {
  KF_RETURN_IF_ERROR(Begin(TPM2_SE_TRIAL));
  KF_RETURN_IF_ERROR(SatisfyPolicy(pcrs));
  Owned<TPM2B_DIGEST> digest;
  KF_TPM(Esys_PolicyGetDigest, esys_, session_, kNone, kNone, kNone, Out(&digest));
  return Bytes(digest->buffer, digest->buffer + digest->size);
}

Status Tpm::Seal(const Bytes& policy, const SecretBytes& auth,
                 const SecretBytes& secret, TpmBlob* blob) {
  TPM2B_PUBLIC shape{};
  shape.publicArea.type = TPM2_ALG_KEYEDHASH;
  shape.publicArea.nameAlg = TPM2_ALG_SHA256;
  // Only by the policy; wrong tries count where there is something to try.
  shape.publicArea.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                      (auth.empty() ? TPMA_OBJECT_NODA : 0);
  shape.publicArea.authPolicy.size = static_cast<UINT16>(policy.size());
  std::memcpy(shape.publicArea.authPolicy.buffer, policy.data(), policy.size());
  shape.publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};

  TPM2B_SENSITIVE_CREATE inside{};
  const WipedBytes plain(RevealSecret(secret)), word(RevealSecret(auth));
  inside.sensitive.data.size = static_cast<UINT16>(plain.bytes.size());
  std::memcpy(inside.sensitive.data.buffer, plain.bytes.data(), plain.bytes.size());
  inside.sensitive.userAuth.size = static_cast<UINT16>(word.bytes.size());
  std::memcpy(inside.sensitive.userAuth.buffer, word.bytes.data(), word.bytes.size());

  Owned<TPM2B_PRIVATE> private_part;
  Owned<TPM2B_PUBLIC> public_part;
  Owned<TPM2B_CREATION_DATA> data;
  Owned<TPM2B_DIGEST> hash;
  Owned<TPMT_TK_CREATION> ticket;
  Status status = Begin(TPM2_SE_HMAC);
  if (status.ok()) {
    const TSS2_RC rc = Esys_Create(
        esys_, root_, session_, kNone, kNone, &inside, &shape, &outside, &no_pcrs,
        Out(&private_part), Out(&public_part), Out(&data), Out(&hash), Out(&ticket));
    if (rc != TSS2_RC_SUCCESS) status = Failed("Esys_Create", rc);
  }
  explicit_bzero(&inside, sizeof inside);
  KF_RETURN_IF_ERROR(status);

  blob->private_part.resize(sizeof(TPM2B_PRIVATE));
  size_t size = 0;
  KF_TPM(Tss2_MU_TPM2B_PRIVATE_Marshal, private_part.get(), blob->private_part.data(),
         blob->private_part.size(), &size);
  blob->private_part.resize(size);
  blob->public_part.resize(sizeof(TPM2B_PUBLIC));
  size = 0;
  KF_TPM(Tss2_MU_TPM2B_PUBLIC_Marshal, public_part.get(), blob->public_part.data(),
         blob->public_part.size(), &size);
  blob->public_part.resize(size);
  return OkStatus();
}

Status Tpm::Load(const TpmBlob& blob) {
  const Status damaged(Error::kCorrupt,
                       "What the TPM sealed is damaged in the store's configuration. "
                       "Restore keyfold.json from a backup.");
  TPM2B_PRIVATE private_part{};
  TPM2B_PUBLIC public_part{};
  size_t used = 0;
  if (Tss2_MU_TPM2B_PRIVATE_Unmarshal(blob.private_part.data(),
                                      blob.private_part.size(), &used,
                                      &private_part) != TSS2_RC_SUCCESS ||
      used != blob.private_part.size())
    return damaged;
  used = 0;
  if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(blob.public_part.data(), blob.public_part.size(),
                                     &used, &public_part) != TSS2_RC_SUCCESS ||
      used != blob.public_part.size())
    return damaged;
  KF_RETURN_IF_ERROR(Begin(TPM2_SE_HMAC));
  const TSS2_RC rc = Esys_Load(esys_, root_, session_, kNone, kNone, &private_part,
                               &public_part, &sealed_);
  if (rc == TSS2_RC_SUCCESS) return OkStatus();
  const Status failed = Failed("Esys_Load", rc);
  // Any other complaint is about the bytes.
  return failed.error() == Error::kInternal ? damaged : failed;
}

// PcrsChanged says which; empty when none did.
std::string PcrsChanged(const PcrValues& before, const PcrValues& now) {
  std::string list;
  for (const auto& [pcr, value] : before)
    if (const auto it = now.find(pcr); it == now.end() || it->second != value)
      list += (list.empty() ? "" : ", ") + std::to_string(pcr);
  return list;
}

Result<SecretBytes> Tpm::Unseal(const PcrValues& pcrs, const SecretBytes& auth) {
  PcrValues now = pcrs;
  KF_RETURN_IF_ERROR(ReadPcrs(&now));
  WipedBytes word(RevealSecret(auth));
  TPM2B_AUTH value{};
  value.size = static_cast<UINT16>(word.bytes.size());
  std::memcpy(value.buffer, word.bytes.data(), word.bytes.size());
  TSS2_RC rc = Esys_TR_SetAuth(esys_, sealed_, &value);
  explicit_bzero(value.buffer, sizeof value.buffer);
  Owned<TPM2B_SENSITIVE_DATA> data;
  Status status =
      rc == TSS2_RC_SUCCESS ? Begin(TPM2_SE_POLICY) : Failed("Esys_TR_SetAuth", rc);
  if (status.ok()) status = SatisfyPolicy(pcrs);
  if (status.ok()) {
    KF_TPM(Esys_TRSess_SetAttributes, esys_, session_,
           TPMA_SESSION_ENCRYPT | TPMA_SESSION_CONTINUESESSION, 0xff);
    rc = Esys_Unseal(esys_, sealed_, session_, kNone, kNone, Out(&data));
  }
  // The library's copy: the size stays, the bytes are zeros now.
  (void)Esys_TR_SetAuth(esys_, sealed_, &value);
  KF_RETURN_IF_ERROR(status);
  const std::string changed = PcrsChanged(pcrs, now);
  if (CodeOf(rc) == TPM2_RC_POLICY_FAIL || CodeOf(rc) == TPM2_RC_PCR_CHANGED)
    return Status(Error::kWrongCredential,
                  "The TPM refuses: PCR " + (changed.empty() ? "values" : changed) +
                      " (sha256) differ from when the root key was sealed. If that "
                      "change is wanted, boot as before and seal it again: keyfold kms "
                      "root-key change-provider.");
  if (rc != TSS2_RC_SUCCESS) return Failed("Esys_Unseal", rc);
  SecretBytes secret = SecretFrom(MutableBytes(data->buffer, data->size));
  return secret;
}

}  // namespace

bool IsDeviceTcti(const std::string& tcti) {
  // A device is written to before it is known to be a TPM.
  constexpr std::string_view kDevice = "device:/dev/tpm";
  return tcti.starts_with(kDevice) &&
         tcti.find_first_not_of("rm0123456789", kDevice.size()) == std::string::npos;
}

Status CheckTcti(const std::string& tcti) {
  const std::string name = tcti.substr(0, tcti.find(':'));
  for (const char* known : {"swtpm", "mssim", "tabrmd"})
    if (name == known) return OkStatus();
  if (IsDeviceTcti(tcti)) return OkStatus();
  return {Error::kUsage,
          "tcti= expects device:/dev/tpmrm0, swtpm:path=/SOCKET, mssim:host=HOST or "
          "tabrmd."};
}

Result<PcrValues> ParsePcrs(const std::string& text) {
  const Status wrong(Error::kUsage,
                     "pcrs= expects sha256 and numbers below 24: pcrs=sha256:0+7.");
  constexpr std::string_view kBank = "sha256:";
  if (!text.starts_with(kBank)) return wrong;
  PcrValues out;
  std::string_view rest = std::string_view(text).substr(kBank.size());
  while (true) {
    const std::string_view word = rest.substr(0, rest.find('+'));
    if (word.empty() || word.size() > 2 ||
        word.find_first_not_of("0123456789") != std::string_view::npos)
      return wrong;
    const unsigned pcr = static_cast<unsigned>(std::stoul(std::string(word)));
    if (pcr >= kMostPcrs) return wrong;
    out[pcr];
    if (word.size() == rest.size()) return out;
    rest.remove_prefix(word.size() + 1);
  }
}

Result<TpmBlob> SealInTpm(const std::string& tcti, const PcrValues& pcrs,
                          const SecretBytes& auth, const SecretBytes& secret) {
  KF_ASSIGN_OR_RETURN(const auto tpm, Tpm::Open(tcti));
  KF_RETURN_IF_ERROR(tpm->MakeStorageRoot());
  TpmBlob blob;
  blob.storage_root = tpm->root_name();
  blob.pcrs = pcrs;
  KF_RETURN_IF_ERROR(tpm->ReadPcrs(&blob.pcrs));
  KF_ASSIGN_OR_RETURN(const Bytes policy, tpm->PolicyFor(pcrs));
  KF_RETURN_IF_ERROR(tpm->Seal(policy, auth, secret, &blob));
  return blob;
}

Result<SecretBytes> UnsealInTpm(const std::string& tcti, const TpmBlob& blob,
                                const SecretBytes& auth) {
  KF_ASSIGN_OR_RETURN(const auto tpm, Tpm::Open(tcti));
  KF_RETURN_IF_ERROR(tpm->MakeStorageRoot());
  if (tpm->root_name() != blob.storage_root)
    return Status(Error::kWrongCredential,
                  "This is another TPM than the one that sealed the root key, or it "
                  "was cleared since. Without that TPM only a backup of the key store "
                  "made under another root key helps.");
  KF_RETURN_IF_ERROR(tpm->Load(blob));
  return tpm->Unseal(blob.pcrs, auth);
}

Status CheckTpm(const std::string& tcti) {
  const auto tpm = Tpm::Open(tcti);
  const Status status = tpm.ok() ? (*tpm)->Ask() : tpm.status();
  if (status.ok()) return status;
  return {Error::kUnavailable, status.message()};
}

}  // namespace keyfold
