// EpochRecord (public) and EpochKeys (secret, opaque).
#include "countermark/keys/epoch.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "countermark/keys/key_store.h"
#include "python/src/bindings.h"
#include "python/src/errors.h"
#include "python/src/passphrase.h"
#include "src/base/strings.h"

namespace countermark::python {

using namespace nb::literals;

void BindEpoch(nb::module_& m) {
  nb::class_<EpochRecord>(m, "EpochRecord", "The public record of how an epoch's texts are marked: everything a detector must know but the key.")
      .def_static("parse", [](const std::string& json) { return ValueOrRaise(EpochRecord::Parse(json)); }, "json"_a, "Reads a record's JSON.")
      .def("to_json", &EpochRecord::CanonicalJson, "The canonical JSON (RFC 8785), whose SHA-256 every commitment holds.")
      .def_ro("format", &EpochRecord::format)
      .def_ro("tenant", &EpochRecord::tenant)
      .def_ro("epoch", &EpochRecord::epoch)
      .def_prop_ro("scheme", [](const EpochRecord& r) { return std::string(SchemeName(r.mark.scheme)); })
      .def_prop_ro("window", [](const EpochRecord& r) { return r.mark.window; })
      .def_prop_ro("green", [](const EpochRecord& r) { return r.mark.green; })
      .def_prop_ro("delta", [](const EpochRecord& r) { return r.mark.delta; })
      .def_prop_ro("layers", [](const EpochRecord& r) { return r.mark.layers; })
      .def_prop_ro(
          "channels",
          [](const EpochRecord& r) {
            nb::dict channels;
            for (const ChannelSpec& channel : r.channels) channels[channel.name.c_str()] = channel.weight;
            return channels;
          },
          nb::sig("def channels(self) -> dict[str, int]"), "Weights by name, in 1/65536.")
      .def_ro("vocabulary", &EpochRecord::vocabulary)
      .def_ro("tokenizer_sha256", &EpochRecord::tokenizer_sha256)
      .def_prop_ro("low_entropy", [](const EpochRecord& r) { return std::string(LowEntropyPolicyName(r.low_entropy)); })
      .def_ro("first_use", &EpochRecord::first_use)
      .def_ro("last_use", &EpochRecord::last_use)
      .def("__repr__", [](const EpochRecord& r) { return Cat("EpochRecord.parse('", r.CanonicalJson(), "')"); })
      .def(
          "__eq__", [](const EpochRecord& a, nb::handle b) { return nb::isinstance<EpochRecord>(b) && a.CanonicalJson() == nb::cast<const EpochRecord&>(b).CanonicalJson(); },
          nb::sig("def __eq__(self, other: object, /) -> bool"))
      .def("__hash__", [](const EpochRecord& r) { return nb::hash(nb::str(r.CanonicalJson().c_str())); })
      .def("__getstate__", &EpochRecord::CanonicalJson)
      .def("__setstate__", [](EpochRecord& self, const std::string& json) { new (&self) EpochRecord(ValueOrRaise(EpochRecord::Parse(json))); });

  auto keys = nb::class_<EpochKeys>(m, "EpochKeys", "An epoch's key with its record: what a detector is made from. Cannot be printed, pickled or copied.");
  keys.def_static(
          "from_bundle",
          [](const std::filesystem::path& path, const std::optional<std::filesystem::path>& file, std::optional<int> fd, const nb::object& function) {
            const SecretBytes passphrase = PassphraseOf(file, fd, function);
            absl::StatusOr<EpochKeys> opened = [&] {
              nb::gil_scoped_release unlocked;
              return OpenBundle(path.string(), passphrase);
            }();
            return ValueOrRaise(std::move(opened));
          },
          "path"_a, nb::kw_only(), "passphrase_file"_a = nb::none(), "passphrase_fd"_a = nb::none(), "passphrase_callback"_a = nb::none(),
          nb::sig("def from_bundle(path: str | os.PathLike[str], *, " COUNTERMARK_PASSPHRASE_SIGNATURE ") -> EpochKeys"),
          "Opens what `watermark-keys bundle` or KeyStore.bundle wrote.")
      .def_static("from_export", [](const std::filesystem::path& path) { return ValueOrRaise(ReadExport(path.string())); }, "path"_a,
                  nb::sig("def from_export(path: str | os.PathLike[str]) -> EpochKeys"),
                  "Reads an exported key and the record beside it (PATH.json). It has no account labels.")
      .def_prop_ro("record", [](const EpochKeys& k) { return k.record; })
      .def_prop_ro("accounts", [](const EpochKeys& k) { return k.accounts; }, "The registered account labels, in the order they were added.")
      .def("__repr__", [](const EpochKeys& k) { return Cat("<countermark.EpochKeys ", k.record.tenant, "/", k.record.epoch, ", ", k.accounts.size(), " accounts>"); });
  RefusePickle(keys, "an epoch's keys are secret: they are neither pickled nor copied");
}

}  // namespace countermark::python
