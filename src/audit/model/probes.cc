#include "src/audit/model/probes.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "countermark/keys/digest.h"
#include "countermark/mark/scheme.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

using nlohmann::json;

constexpr size_t kLongestLine = size_t{256} << 20;
constexpr size_t kKeptErrors = 20;
constexpr int64_t kClockJitter = 1000;  // ms: records of one server are stamped before they are put in line

absl::Status ReadIds(const json& value, std::string_view name, std::vector<uint32_t>* ids) {
  if (!value.is_array()) return absl::InvalidArgumentError(Cat("member '", name, "' is no array of token ids"));
  ids->clear();
  for (const json& id : value) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= kTokenLimit) return absl::InvalidArgumentError(Cat("member '", name, "' holds what is no token id"));
    ids->push_back(id.get<uint32_t>());
  }
  return absl::OkStatus();
}

absl::Status ReadText(const json& value, std::string_view name, std::string* text) {
  if (!value.is_string()) return absl::InvalidArgumentError(Cat("member '", name, "' is no text"));
  *text = value.get<std::string>();
  return absl::OkStatus();
}

// One answer of a record: choice `which` of those that hold something. Gives how many there are, and in *hashed how many were logged without ids.
absl::StatusOr<uint32_t> ParseRecord(const json& record, uint32_t which, ModelProbe* probe, uint32_t* hashed) {
  *probe = {};
  *hashed = 0;
  if (!record.is_object()) return absl::InvalidArgumentError("this is no JSON object");
  if (record.contains("account") && !record["account"].is_null()) CM_RETURN_IF_ERROR(ReadText(record["account"], "account", &probe->account));
  if (record.contains("prompt_token_ids") && !record["prompt_token_ids"].is_null()) {
    probe->prompt_is_ids = true;
    CM_RETURN_IF_ERROR(ReadIds(record["prompt_token_ids"], "prompt_token_ids", &probe->prompt_ids));
  } else if (record.contains("prompt") && !record["prompt"].is_null()) {
    CM_RETURN_IF_ERROR(ReadText(record["prompt"], "prompt", &probe->prompt));
  }
  if (record.contains("token_ids")) {
    probe->answer_is_ids = true;
    CM_RETURN_IF_ERROR(ReadIds(record["token_ids"], "token_ids", &probe->answer_ids));
    return 1;
  }
  for (const char* name : {"answer", "text"}) {
    if (!record.contains(name)) continue;
    CM_RETURN_IF_ERROR(ReadText(record[name], name, &probe->answer));
    return 1;
  }
  if (!record.contains("choices") || !record["choices"].is_array()) {
    if (record.contains("v")) {  // the serving log's, of an answer without a token, or one kept without its choices
      if (!record.contains("choices") && (!record.contains("status") || record["status"] == 200)) *hashed = 1;
      return 0;
    }
    return absl::InvalidArgumentError("neither 'answer' nor 'token_ids' nor 'choices' is there");
  }
  uint32_t choices = 0;
  for (const json& choice : record["choices"]) {
    if (!choice.is_object()) return absl::InvalidArgumentError("a choice is no JSON object");
    if (!choice.contains("token_ids")) {
      *hashed += choice.contains("token_ids_sha256") || choice.contains("text_sha256");
      continue;
    }
    if (choices++ != which) continue;
    probe->answer_is_ids = true;
    CM_RETURN_IF_ERROR(ReadIds(choice["token_ids"], "token_ids", &probe->answer_ids));
  }
  return choices;
}

// When the request began. False if the record does not say.
absl::StatusOr<bool> ReadStart(const json& record, int64_t* start, int64_t* written) {
  *written = 0;
  if (record.contains("start")) {
    if (!record["start"].is_string() || !ParseUtcMillis(record["start"].get_ref<const std::string&>(), start)) {
      return absl::InvalidArgumentError("member 'start' is no time as in 2026-11-24T18:19:12.123Z");
    }
    return true;
  }
  if (!record.contains("time")) return false;
  if (!record["time"].is_string() || !ParseUtcMillis(record["time"].get_ref<const std::string&>(), written)) {
    return absl::InvalidArgumentError("member 'time' is no time as in 2026-11-24T18:19:12.123Z");
  }
  *start = *written;
  if (record.contains("ms")) {
    if (!record["ms"].is_number() || record["ms"].get<double>() < 0 || record["ms"].get<double>() > 1e12) return absl::InvalidArgumentError("member 'ms' is no duration");
    *start -= static_cast<int64_t>(record["ms"].get<double>());
  }
  return true;
}

}  // namespace

bool ParseUtcMillis(std::string_view text, int64_t* millis) {
  const auto number = [&](size_t at, size_t digits, int* value) {
    *value = 0;
    for (size_t i = at; i < at + digits; ++i) {
      if (i >= text.size() || text[i] < '0' || text[i] > '9') return false;
      *value = 10 * *value + (text[i] - '0');
    }
    return true;
  };
  int year, month, day, hour, minute, second;
  if (text.size() < 20 || text.back() != 'Z' || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') return false;
  if (!number(0, 4, &year) || !number(5, 2, &month) || !number(8, 2, &day) || !number(11, 2, &hour) || !number(14, 2, &minute) || !number(17, 2, &second)) return false;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)), std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return false;
  int64_t fraction = 0;
  if (text.size() > 20) {
    if (text[19] != '.' || text.size() == 21) return false;
    int64_t unit = 100;
    for (size_t i = 20; i + 1 < text.size(); ++i, unit /= 10) {
      if (text[i] < '0' || text[i] > '9') return false;
      fraction += unit * (text[i] - '0');
    }
  }
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  *millis = ((days * 24 + hour) * 60 + minute) * int64_t{60000} + second * int64_t{1000} + fraction;
  return true;
}

void ProbeSource::Error(const std::string& text) {
  ++error_count_;
  if (errors_.size() < kKeptErrors) errors_.push_back(text);
}

absl::StatusOr<ProbeSource> ProbeSource::Open(const std::vector<std::string>& paths, bool served) {
  ProbeSource source;
  source.paths_ = paths;
  std::string digests;
  for (uint32_t i = 0; i < paths.size(); ++i) {
    CM_ASSIGN_OR_RETURN(FileDescriptor fd, OpenForReading(paths[i]));
    source.files_.push_back(std::move(fd));
    CM_ASSIGN_OR_RETURN(const Digest32 digest, Sha256File(paths[i]));
    digests += HexEncode(digest) + "\n";
    CM_RETURN_IF_ERROR(source.Scan(i, served));
  }
  source.sha256_ = HexEncode(Sha256(std::string_view(digests)));
  if (served && source.timed_ > 0 && source.untimed_ > 0) {
    return absl::InvalidArgumentError(Cat(source.timed_, " records say when they began ('start', or 'time') and ", source.untimed_, " do not: a served log has one order"));
  }
  if (served && source.timed_ == 0 && paths.size() > 1) {
    return absl::InvalidArgumentError("several files of served probes, and no record says when it began ('start', or 'time'): put them into one file, in order");
  }
  std::stable_sort(source.entries_.begin(), source.entries_.end(), [](const Entry& a, const Entry& b) { return a.start < b.start; });
  // Told to the second alone, a request may have begun after another's answer and stand before it.
  for (size_t i = 1; served && i < source.entries_.size() && source.clock_.empty(); ++i) {
    const Entry &a = source.entries_[i - 1], &b = source.entries_[i];
    if (a.start != b.start || a.file == b.file || !(a.whole_second || b.whole_second)) continue;
    source.clock_ = Cat(source.Place(i), ": began in the same second as ", source.Place(i - 1), ", and which was first is not said");
  }
  return source;
}

absl::Status ProbeSource::Scan(uint32_t file, bool served) {
  std::ifstream in(paths_[file], std::ios::binary);
  std::string line;
  uint64_t number = 0, byte = 0;
  int64_t latest = 0;
  std::string broken;  // the line before, if it could not be read
  ModelProbe probe;
  const auto settle = [&] {
    if (broken.empty()) return;
    ++counts_.records;
    ++counts_.unreadable;
    Error(broken);
    broken.clear();
  };
  for (; std::getline(in, line); byte += line.size() + 1) {
    ++number;
    const std::string place = Cat(paths_[file], ":", number);
    if (number == 1 && (line.starts_with("\x1f\x8b") || line.starts_with("\x28\xb5\x2f\xfd"))) {
      return absl::InvalidArgumentError(Cat("'", paths_[file], "': compressed; unpack it, since probes are read in the order of their requests"));
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line.size() > kLongestLine) {
      settle();
      broken = Cat(place, ": a line of ", line.size(), " bytes; at most ", kLongestLine, " are read");
      continue;
    }
    const json record = json::parse(line, nullptr, false);
    if (record.is_object() && record.contains("event") && record["event"] == "recovered") {  // the line before it is what a kill left
      if (!broken.empty()) ++counts_.torn;
      broken.clear();
      continue;
    }
    settle();
    Entry entry{.file = file, .line = number, .byte = byte, .bytes = static_cast<uint32_t>(line.size())};
    int64_t written = 0;
    uint32_t hashed = 0;
    absl::StatusOr<uint32_t> choices = record.is_discarded() ? absl::InvalidArgumentError("not JSON") : ParseRecord(record, 0, &probe, &hashed);
    absl::StatusOr<bool> timed = choices.ok() ? ReadStart(record, &entry.start, &written) : absl::StatusOr<bool>(false);
    if (choices.ok() && served && *choices > 0 && !probe.answer_is_ids) {
      choices = absl::InvalidArgumentError("served probes need 'token_ids': a text that is cut into tokens again is not always what was served");
    }
    if (!choices.ok() || !timed.ok()) {
      broken = Cat(place, ": ", std::string((choices.ok() ? timed.status() : choices.status()).message()));
      continue;
    }
    counts_.without_ids += hashed;
    if (*choices == 0) continue;
    if (!served) entry.start = 0;
    if (*timed) entry.whole_second = record[record.contains("start") ? "start" : "time"].get_ref<const std::string&>().size() == 20;
    if (served && written != 0) {
      if (written + kClockJitter < latest && clock_.empty()) clock_ = Cat(place, ": the clock went back by ", latest - written, " ms");
      latest = std::max(latest, written);
    }
    (*timed ? timed_ : untimed_) += 1;
    for (entry.choice = 0; entry.choice < *choices; ++entry.choice) {
      ++counts_.records;
      entries_.push_back(entry);
    }
  }
  settle();
  if (in.bad()) return absl::UnavailableError(Cat("cannot read '", paths_[file], "'"));
  return absl::OkStatus();
}

std::string ProbeSource::Place(uint64_t index) const { return Cat(paths_[entries_[index].file], ":", entries_[index].line); }

absl::Status ProbeSource::Read(uint64_t index, ModelProbe* probe) const {
  const Entry& entry = entries_[index];
  std::string line(entry.bytes, '\0');
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = pread(files_[entry.file].get(), line.data() + done, line.size() - done, static_cast<off_t>(entry.byte + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot read", paths_[entry.file]);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  const json record = json::parse(line, nullptr, false);
  uint32_t hashed = 0;
  if (done == line.size() && !record.is_discarded() && ParseRecord(record, entry.choice, probe, &hashed).ok()) return absl::OkStatus();
  return absl::DataLossError(Cat(Place(index), ": this line has changed since the run began"));
}

}  // namespace countermark::audit
