// Tokenizer: text to ids as the epoch's model sees it.
#include "countermark/tokenize/tokenizer.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "python/src/bindings.h"
#include "python/src/errors.h"
#include "src/base/strings.h"

namespace countermark::python {

using namespace nb::literals;

void BindTokenizer(nb::module_& m) {
  nb::class_<Tokenizer>(m, "Tokenizer", "A tokenizer's file: a SentencePiece model, or a GGUF where the build has libllama. Safe to use from several threads.")
      .def_static(
          "open",
          [](const std::filesystem::path& path) {
            absl::StatusOr<std::unique_ptr<Tokenizer>> opened = [&] {
              nb::gil_scoped_release unlocked;
              return OpenTokenizer(path.string());
            }();
            if (opened.status().code() == absl::StatusCode::kFailedPrecondition) Raise("InvalidArgumentError", std::string(opened.status().message()));
            return std::shared_ptr<Tokenizer>(ValueOrRaise(std::move(opened)));
          },
          "path"_a, nb::sig("def open(path: str | os.PathLike[str]) -> Tokenizer"))
      .def(
          "encode",
          [](const Tokenizer& tokenizer, const std::string& text) {
            TokenizedText out;
            absl::Status status;
            {
              nb::gil_scoped_release unlocked;
              status = tokenizer.Encode(text, &out);
            }
            RaiseIfError(status);
            return out.ids;
          },
          "text"_a, "Ids of plain text: no begin or end token is added, and no text is read as a special token.")
      .def(
          "decode", [](const Tokenizer& tokenizer, const std::vector<uint32_t>& ids) { return TextOf(tokenizer.Decode(ids)); }, "ids"_a,
          nb::sig("def decode(self, ids: collections.abc.Sequence[int]) -> str"))
      .def_prop_ro("vocabulary", &Tokenizer::vocabulary)
      .def_prop_ro("sha256", [](const Tokenizer& t) { return t.sha256(); })
      .def_prop_ro("kind", [](const Tokenizer& t) { return std::string(t.kind()); }, "'sentencepiece', 'gguf' or 'hf'.")
      .def("__repr__", [](const Tokenizer& t) { return Cat("<countermark.Tokenizer ", t.kind(), ", ", t.vocabulary(), " tokens>"); });
}

}  // namespace countermark::python
