// TpmSeal: a secret that only one TPM 2.0 gives back, while its PCRs are as they were.
//
// The secret is a sealed object under the storage root key, which is made anew each
// time from TCG's template for ECC P-256 and is always the same. Commands go through
// sessions salted to that key, with parameters encrypted, so that listening on the bus
// shows nothing; its name is kept, so that another on the bus cannot pose as it.
//
// Owns: all of tpm2-tss. Must not know: where a secret comes from. Free functions; each
// opens the TPM for itself.
#pragma once

#include <map>
#include <string>

#include "kms/base/Bytes.h"
#include "kms/base/SecretBytes.h"
#include "kms/base/Status.h"

namespace keyfold {

// PCRs of the SHA-256 bank, with their values.
using PcrValues = std::map<unsigned, Bytes>;

struct TpmBlob {
  Bytes storage_root;  // its name: 34 bytes
  Bytes public_part, private_part;
  PcrValues pcrs;  // values at sealing; they say which one changed
};

// `tcti` names how to reach the TPM: "device:/dev/tpmrm0", "swtpm:path=/run/sock".
// kUsage unless it begins with device, swtpm, mssim or tabrmd: others name programs.
Status CheckTcti(const std::string& tcti);
// IsDeviceTcti tells whether it is a device of this machine, behind which only the
// kernel stands.
bool IsDeviceTcti(const std::string& tcti);

// SealInTpm seals 32 bytes. With `auth` (32 bytes, or empty) the TPM also wants that,
// and counts wrong tries. `pcrs` may be empty. kUnavailable without a TPM.
Result<TpmBlob> SealInTpm(const std::string& tcti, const PcrValues& pcrs,
                          const SecretBytes& auth, const SecretBytes& secret);
// UnsealInTpm undoes it. kWrongCredential, and says why, for another TPM, PCRs that
// changed, a wrong or locked `auth`; kCorrupt for a damaged blob.
Result<SecretBytes> UnsealInTpm(const std::string& tcti, const TpmBlob& blob,
                                const SecretBytes& auth);
// CheckTpm is kUnavailable unless a TPM answers.
Status CheckTpm(const std::string& tcti);

// ParsePcrs reads "sha256:0+7": the numbers, without values. kUsage.
Result<PcrValues> ParsePcrs(const std::string& text);

}  // namespace keyfold
