// watermark-verify: checks a signed report, offline.
#include <optional>
#include <string>
#include <vector>

#include "countermark/evidence/dsse.h"
#include "countermark/evidence/verify.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/cli/cli.h"
#include "tools/cli/output.h"
#include "tools/verify/material.h"
#include "tools/verify/print.h"

namespace countermark {
namespace {

struct Options {
  std::string report;
  std::string public_key;
  std::vector<std::string> inputs;
  std::vector<std::string> tokenizers;
  std::string revealed;
  std::string output = "-";
  size_t rows = 10;
  bool json = false;
};

absl::StatusOr<Verification> Verify(const Options& options) {
  CM_ASSIGN_OR_RETURN(const std::string pem, ReadWholeFile(options.public_key, 1 << 16));
  const absl::StatusOr<Ed25519PublicKey> key = ParseEd25519PublicKeyPem(pem);
  if (!key.ok()) return absl::InvalidArgumentError(Cat(options.public_key, ": ", std::string(key.status().message())));
  VerifyMaterial material;
  for (const std::string& path : options.inputs) {
    CM_ASSIGN_OR_RETURN(VerifyMaterial::File file, HashFile(path));
    material.inputs.push_back(std::move(file));
  }
  for (const std::string& path : options.tokenizers) {
    CM_ASSIGN_OR_RETURN(VerifyMaterial::File file, HashFile(path));
    material.tokenizers.push_back(std::move(file));
  }
  if (!options.revealed.empty()) {
    CM_ASSIGN_OR_RETURN(material.revealed, ReadRevealedKeys(options.revealed));
  }
  CM_ASSIGN_OR_RETURN(const std::string envelope, ReadWholeFile(options.report == "-" ? "/dev/stdin" : options.report, kMaxEnvelopeBytes));
  return VerifyReport(envelope, *key, material);
}

absl::Status Write(const std::string& text, const std::string& path) {
  if (path == "-") {
    cli::Output out = cli::Output::Standard();
    CM_RETURN_IF_ERROR(out.Write(text));
    return out.Commit();
  }
  CM_ASSIGN_OR_RETURN(cli::Output out, cli::Output::Create(path));
  CM_RETURN_IF_ERROR(out.Write(text));
  return out.Commit();
}

int Run(const Options& options, const cli::Program& program) {
  const absl::StatusOr<Verification> verification = Verify(options);
  if (!verification.ok()) return program.Fail(verification.status());
  const std::string text = options.json ? VerificationJson(*verification) + "\n"
                                        : VerificationText(*verification, options.rows, options.output == "-" && program.ColorOut());
  if (const absl::Status status = Write(text, options.output); !status.ok()) return program.Fail(status);
  switch (verification->outcome) {
    case VerifyOutcome::kVerified: return cli::kNoEvidence;
    case VerifyOutcome::kRefused: return program.Fail(Cat("refused: ", verification->failed.front()));
    case VerifyOutcome::kInconsistent: return program.Fail(Cat("inconsistent: ", verification->failed.front()));
  }
  return cli::kError;
}

}  // namespace
}  // namespace countermark

int main(int argc, char** argv) {
  countermark::Options options;
  countermark::cli::Program program(
      "watermark-verify", "Checks a signed report offline: the signature, the files it names, and that every value in it follows from its counts.");
  CLI::App& app = program.app();
  app.add_option("report", options.report, "the report (a DSSE envelope), - for standard input")->required();
  app.add_option("--public-key", options.public_key, "the signer's Ed25519 public key, PEM, had from the signer by another way than the report")->required();
  app.add_option("--input", options.inputs, "files that were tested, as they were on disk");
  app.add_option("--tokenizer", options.tokenizers, "the file of a tokenizer that was used; may be repeated");
  app.add_option("--revealed-key", options.revealed, "keys its holder has revealed: a line of JSON each, with name, key, salt");
  app.add_option("--output", options.output, "where to write the result, a new file; - for standard output");
  app.add_option("--rows", options.rows, "tests shown a table, smallest corrected p first; 0 for all");
  app.add_flag("--json", options.json, "one JSON object, the whole report in it");
  app.footer(
      "Examples:\n"
      "  watermark-verify report.json --public-key signer.pem --input suspect.jsonl\n"
      "  watermark-verify - --public-key signer.pem --json < report.json\n"
      "Exit: 0 verified, whatever the verdict (what could not be checked is listed); 2 refused, inconsistent, or a usage or input error");
  if (const std::optional<int> exit = program.Parse(argc, argv)) return *exit;
  return countermark::Run(options, program);
}
