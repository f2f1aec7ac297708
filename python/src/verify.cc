// verify_report: what watermark-verify does.
#include "countermark/evidence/verify.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <filesystem>
#include <optional>

#include "python/src/bindings.h"
#include "python/src/errors.h"
#include "src/base/status_macros.h"
#include "tools/verify/material.h"

namespace countermark::python {
namespace {

using namespace nb::literals;
using Path = std::filesystem::path;

absl::StatusOr<Verification> Verify(std::string_view envelope, const std::string& pem, const std::vector<Path>& inputs, const std::optional<Path>& tokenizer,
                                    const std::optional<Path>& revealed) {
  CM_ASSIGN_OR_RETURN(const Ed25519PublicKey key, ParseEd25519PublicKeyPem(pem));
  VerifyMaterial material;
  for (const Path& path : inputs) {
    CM_ASSIGN_OR_RETURN(VerifyMaterial::File file, HashFile(path.string()));
    material.inputs.push_back(std::move(file));
  }
  if (tokenizer) {
    CM_ASSIGN_OR_RETURN(VerifyMaterial::File file, HashFile(tokenizer->string()));
    material.tokenizers.push_back(std::move(file));
  }
  if (revealed) {
    CM_ASSIGN_OR_RETURN(material.revealed, ReadRevealedKeys(revealed->string()));
  }
  return VerifyReport(envelope, key, material);
}

}  // namespace

void BindVerify(nb::module_& m) {
  m.def(
      "verify_report",
      [](const nb::bytes& envelope, const std::string& pem, const std::vector<Path>& inputs, const std::optional<Path>& tokenizer, const std::optional<Path>& revealed) {
        absl::StatusOr<Verification> verified = [&] {
          const std::string_view bytes(envelope.c_str(), envelope.size());
          nb::gil_scoped_release unlocked;
          return Verify(bytes, pem, inputs, tokenizer, revealed);
        }();
        const Verification v = ValueOrRaise(std::move(verified));
        const char* outcome = v.outcome == VerifyOutcome::kVerified ? "verified" : v.outcome == VerifyOutcome::kRefused ? "refused" : "inconsistent";
        return nb::make_tuple(outcome, v.report ? nb::cast(ReportPayload(*v.report)) : nb::none(), v.checked, v.failed, v.not_checked, v.weight, v.log10_p_after_grinding);
      },
      "envelope"_a, "public_key_pem"_a, "inputs"_a, "tokenizer"_a.none(), "revealed_keys"_a.none(),
      nb::sig("def verify_report(envelope: bytes, public_key_pem: str, inputs: collections.abc.Sequence[str | os.PathLike[str]], tokenizer: str | os.PathLike[str] | None, "
              "revealed_keys: str | os.PathLike[str] | None) -> tuple[str, str | None, list[str], list[str], list[str], list[str], float | None]"));
}

}  // namespace countermark::python
