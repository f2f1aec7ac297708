#include "src/audit/run.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "src/audit/crc32c.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

using nlohmann::json;

constexpr size_t kMaxOptions = size_t{256} << 20;

// Bytes that are not UTF-8 (a file name may hold any) become U+FFFD.
std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

json KeysJson(const AuditKeys& keys) {
  const MarkParameters& mark = keys.record.mark;
  json out = {{"scheme", std::string(SchemeName(mark.scheme))}, {"window", mark.window}, {"green", mark.green}, {"layers", mark.layers}};
  for (const ChannelSpec& channel : keys.record.channels) out["channels"].push_back({{"name", channel.name}, {"weight", channel.weight}});
  json all = {{"mark", std::move(out)}, {"vocabulary", keys.record.vocabulary}, {"key_fingerprint", keys.Fingerprint()}, {"candidates", json::array()}};
  for (const CandidateFamily& family : keys.families) {
    all["candidates"].push_back({{"family", family.name}, {"of", family.of}, {"count", family.labels.size()}, {"sha256", family.Digest()}});
  }
  return all;
}

// JSON of a few levels, as a run's files are. Discarded: it is none, or so deep that walking it would exhaust the stack.
json ParseShallow(std::string_view text) {
  constexpr int kDeepest = 16;
  bool deep = false;
  json parsed = json::parse(
      text.begin(), text.end(),
      [&deep](int depth, json::parse_event_t, json&) {
        deep |= depth > kDeepest;
        return depth <= kDeepest;
      },
      false);
  return deep ? json(json::value_t::discarded) : parsed;
}

constexpr std::string_view kRemedy = "; remove this file and start again: what the others hold is kept";

absl::Status Damaged(const std::string& place, const absl::Status& status) {
  return absl::DataLossError(Cat(place, ": ", std::string(status.message()), kRemedy));
}

// "mark.window was 2 and is 3": the first member in which they differ.
std::string Difference(const json& before, const json& now, const std::string& where) {
  if (before.is_object() && now.is_object()) {
    for (const auto& [name, value] : now.items()) {
      const std::string path = where.empty() ? name : where + "." + name;
      if (!before.contains(name)) return path + " was not known";
      if (before[name] != value) return Difference(before[name], value, path);
    }
  }
  const auto brief = [](const json& value) {
    std::string text = Dump(value);
    if (text.size() > 80) text = text.substr(0, 80) + "…";
    return text;
  };
  return Cat(where.empty() ? "it" : where, " was ", brief(before), " and is ", brief(now));
}

}  // namespace

std::string OptionsJson(const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options) {
  json all = KeysJson(keys);
  all["format"] = kRunFormat;
  all["kind"] = "dataset";
  all["tokenizer_sha256"] = tokenizer != nullptr ? json(tokenizer->sha256()) : json(nullptr);
  all["part"] = {{"of", options.parts}, {"index", options.part}};
  const InputOptions& input = options.input;
  all["input"] = {{"files", options.files},
                  {"format", static_cast<int>(input.format)},
                  {"content_field", input.content_field()},
                  {"ids", input.wants_ids()},
                  {"id_field", input.id_field},
                  {"prompt_field", input.prompt_field},
                  {"prompt_ids_field", input.prompt_ids_field},
                  {"max_record_bytes", input.max_record_bytes},
                  {"limit", options.limit}};
  return Dump(all) + "\n";
}

std::string MergeOptionsJson(const AuditKeys& keys, const std::vector<Digest32>& runs) {
  json all = KeysJson(keys);
  all["format"] = kRunFormat;
  all["kind"] = "merge";
  for (const Digest32& digest : runs) all["runs"].push_back(HexEncode(digest));
  return Dump(all) + "\n";
}

absl::StatusOr<json> ParseRunOptions(const RunDirectory& run) {
  json all = ParseShallow(run.options);
  const auto wrong = [&run](std::string_view what) { return absl::DataLossError(Cat("'", run.File("run.json"), "': not the options of a run: ", what)); };
  if (!all.is_object()) return wrong("no JSON object");
  for (const char* name : {"kind", "format", "key_fingerprint", "mark", "vocabulary", "candidates"}) {
    if (!all.contains(name)) return wrong(Cat("no member '", name, "'"));
  }
  if (!all["kind"].is_string()) return wrong("'kind' is no string");
  if (all["kind"] != "dataset") return all;
  for (const char* name : {"part", "input"}) {
    if (!all.contains(name) || !all[name].is_object()) return wrong(Cat("'", name, "' is no object"));
  }
  const json& part = all["part"];
  for (const char* name : {"of", "index"}) {
    if (!part.contains(name) || !part[name].is_number_unsigned() || part[name].get<uint64_t>() > 65536) return wrong(Cat("'part.", name, "' is no number of a part"));
  }
  if (part["index"].get<uint64_t>() >= part["of"].get<uint64_t>()) return wrong("'part.index' is no number of a part");
  const json& input = all["input"];
  if (!input.contains("files") || !input["files"].is_array()) return wrong("'input.files' is no array");
  for (const json& file : input["files"]) {
    if (!file.is_string()) return wrong("'input.files' holds what is no string");
  }
  if (!all.contains("tokenizer_sha256") || !(all["tokenizer_sha256"].is_string() || all["tokenizer_sha256"].is_null())) return wrong("'tokenizer_sha256' is no string");
  return all;
}

std::string RunDirectory::File(std::string_view name) const { return path + "/" + std::string(name); }

absl::StatusOr<RunDirectory> RunDirectory::CreateOrResume(const std::string& path, const std::string& options) {
  RunDirectory run;
  run.path = path;
  run.options = options;
  run.digest = Sha256(std::string_view(options));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus(errno, "cannot make the run directory", path);
  const int fd = open(run.File("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", run.File("lock"));
  run.lock = FileDescriptor(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(Cat("'", path, "': another process is at work in this run directory"));
  }
  absl::StatusOr<std::string> before = ReadWholeFile(run.File("run.json"), kMaxOptions);
  if (before.ok() && *before != options) {
    const json then = ParseShallow(*before), now = json::parse(options);
    if (!then.is_object()) return absl::DataLossError(Cat("'", run.File("run.json"), "': not the options of a run; take another directory"));
    return absl::FailedPreconditionError(Cat("'", path, "': this run directory was made with other options: ", Difference(then, now, ""),
                                             "; give it what it was made with, or take another directory"));
  }
  if (!before.ok()) {
    if (!absl::IsNotFound(before.status())) return before.status();
    for (const char* name : {"pairs-000.log", "input.json", "result.json"}) {
      if (access(run.File(name).c_str(), F_OK) == 0) return absl::DataLossError(Cat("'", path, "': run.json is missing, and ", name, " is there; take another directory"));
    }
    CM_RETURN_IF_ERROR(ReplaceFileAtomically(run.File("run.json"), options));
  }
  return run;
}

absl::StatusOr<RunDirectory> RunDirectory::OpenFinished(const std::string& path) {
  RunDirectory run;
  run.path = path;
  CM_ASSIGN_OR_RETURN(run.options, ReadWholeFile(run.File("run.json"), kMaxOptions));
  run.digest = Sha256(std::string_view(run.options));
  const json parsed = ParseShallow(run.options);
  if (!parsed.is_object() || !parsed.contains("format")) return absl::DataLossError(Cat("'", run.File("run.json"), "': not the options of a run"));
  if (parsed["format"] != kRunFormat) {
    return absl::FailedPreconditionError(Cat("'", path, "': format version ", Dump(parsed["format"]), ", and this program knows ", kRunFormat));
  }
  return run;
}

absl::StatusOr<InputEnd> ReadInputEnd(const RunDirectory& run) {
  CM_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(run.File("input.json"), kMaxOptions));
  const json parsed = ParseShallow(text);
  InputEnd end;
  for (const auto& [name, value] : {std::pair("segments", &end.segments), std::pair("records", &end.records), std::pair("raw_bytes", &end.raw_bytes)}) {
    if (!parsed.is_object() || !parsed.contains(name) || !parsed[name].is_number_unsigned()) {
      return absl::DataLossError(Cat("'", run.File("input.json"), "': no member '", name, "'; remove this file and start again"));
    }
    *value = parsed[name].get<uint64_t>();
  }
  if (!parsed.contains("raw_crc32c") || !parsed["raw_crc32c"].is_number_unsigned()) return absl::DataLossError(Cat("'", run.File("input.json"), "': no member 'raw_crc32c'"));
  end.raw_crc = parsed["raw_crc32c"].get<uint32_t>();
  if (parsed.contains("files") && parsed["files"].is_array()) {
    for (const json& file : parsed["files"]) {
      if (!file.is_array() || file.size() != 2 || !file[0].is_number_unsigned() || !file[1].is_number_integer()) {
        return absl::DataLossError(Cat("'", run.File("input.json"), "': 'files' is not lengths and times; remove this file and start again"));
      }
      end.disk.push_back({file[0].get<uint64_t>(), file[1].get<int64_t>()});
    }
  }
  return end;
}

absl::Status WriteInputEnd(const RunDirectory& run, const InputEnd& end) {
  json out = {{"segments", end.segments}, {"records", end.records}, {"raw_bytes", end.raw_bytes}, {"raw_crc32c", end.raw_crc}, {"files", json::array()}};
  for (const FileOnDisk& file : end.disk) out["files"].push_back({file.bytes, file.written});
  return ReplaceFileAtomically(run.File("input.json"), Dump(out) + "\n");
}

std::vector<FileOnDisk> LookAtFiles(const std::vector<std::string>& files) {
  std::vector<FileOnDisk> all;
  for (const std::string& file : files) {
    struct stat info = {};
    const bool known = file != "-" && stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode);
    all.push_back(known ? FileOnDisk{static_cast<uint64_t>(info.st_size), info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec} : FileOnDisk());
  }
  return all;
}

absl::Status CheckFilesAreAsRead(const InputEnd& end, const std::vector<std::string>& files, const AuditObserver& observer) {
  if (end.disk.size() != files.size()) return absl::OkStatus();
  const std::vector<FileOnDisk> now = LookAtFiles(files);
  for (size_t i = 0; i < files.size(); ++i) {
    if (end.disk[i] == FileOnDisk() || now[i] == FileOnDisk() || now[i] == end.disk[i]) continue;
    if (now[i].bytes != end.disk[i].bytes) {
      return absl::FailedPreconditionError(Cat("the input has changed since this run read it: '", files[i], "' had ", end.disk[i].bytes, " bytes and has ", now[i].bytes, "; take another run directory"));
    }
    observer.note(Cat("'", files[i], "' was written to since this run read it; the result is of what it held then"));
  }
  return absl::OkStatus();
}

void SegmentSource::Add(const FrameLog* log, const InputEnd& end, std::vector<std::string> files) {
  runs_.push_back({log, segments_, records_, static_cast<uint32_t>(files_.size())});
  segments_ += end.segments;
  records_ += end.records;
  files_.insert(files_.end(), files.begin(), files.end());
}

const SegmentSource::Run& SegmentSource::RunOf(uint64_t segment) const {
  size_t i = runs_.size() - 1;
  while (runs_[i].first_segment > segment) --i;
  return runs_[i];
}

std::string SegmentSource::Place(uint64_t segment) const {
  const Run& run = RunOf(segment);
  return run.log->Place(segment - run.first_segment);
}

absl::Status SegmentSource::Head(uint64_t segment, SegmentHead* head, std::vector<SectionIndex>* index) const {
  const Run& run = RunOf(segment);
  std::string bytes;
  CM_RETURN_IF_ERROR(run.log->ReadPart(segment - run.first_segment, 0, kSegmentDocumentsAt, &bytes));
  if (absl::Status status = ParseSegmentHead(bytes, head, index); !status.ok()) {
    return Damaged(Place(segment), status);
  }
  const uint64_t whole = run.log->PayloadBytes(segment - run.first_segment);
  uint64_t said = kSegmentDocumentsAt;
  if (head->documents_bytes <= whole) said += head->documents_bytes;
  for (const SectionIndex& section : *index) said += section.bytes;
  if (head->documents_bytes > whole || said != whole) return Damaged(Place(segment), absl::DataLossError("the segment's parts do not make up its length"));
  head->first_document += run.first_record;
  return absl::OkStatus();
}

absl::StatusOr<SegmentView> SegmentSource::Read(uint64_t segment) const {
  const Run& run = RunOf(segment);
  std::string bytes;
  CM_RETURN_IF_ERROR(run.log->ReadPart(segment - run.first_segment, 0, run.log->PayloadBytes(segment - run.first_segment), &bytes));
  absl::StatusOr<SegmentView> view = SegmentView::Parse(std::move(bytes));
  if (!view.ok()) return Damaged(Place(segment), view.status());
  return view;
}

absl::Status SegmentSource::Documents(uint64_t segment, SegmentHead* head, std::vector<DocumentRow>* rows) const {
  const Run& run = RunOf(segment);
  std::vector<SectionIndex> index;
  CM_RETURN_IF_ERROR(Head(segment, head, &index));
  std::string bytes;
  CM_RETURN_IF_ERROR(Section(segment, kSegmentDocumentsAt, {static_cast<uint32_t>(head->documents_bytes), 0, head->documents_crc}, &bytes));
  if (absl::Status status = ParseDocuments(bytes, head->rows, rows); !status.ok()) {
    return Damaged(Place(segment), status);
  }
  for (DocumentRow& row : *rows) {
    row.file += run.first_file;
    if (row.file >= files_.size()) return absl::DataLossError(Cat(Place(segment), ": a document of a file that is not known"));
  }
  return absl::OkStatus();
}

absl::Status SegmentSource::Section(uint64_t segment, uint64_t at, const SectionIndex& index, std::string* bytes) const {
  const Run& run = RunOf(segment);
  CM_RETURN_IF_ERROR(run.log->ReadPart(segment - run.first_segment, at, index.bytes, bytes));
  if (Crc32c(*bytes) != index.crc) return Damaged(Place(segment), absl::DataLossError("a checksum does not fit"));
  return absl::OkStatus();
}

}  // namespace countermark::audit
