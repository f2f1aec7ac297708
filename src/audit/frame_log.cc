#include "src/audit/frame_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "src/audit/bytes.h"
#include "src/audit/crc32c.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

constexpr std::string_view kMagic = "CMAUDIT1";
constexpr uint32_t kFrameMagic = 0x314D4643;  // "CFM1"
constexpr uint64_t kFileHeader = 64;
constexpr uint64_t kFrameHeader = 28;
constexpr uint64_t kFileLimit = uint64_t{1} << 30;
constexpr uint64_t kPayloadLimit = uint64_t{1} << 40;

std::string NumberedName(std::string_view stem, uint32_t number) {
  char digits[24];
  std::snprintf(digits, sizeof digits, "%03u.log", number);
  return std::string(stem) + digits;
}

std::string FileHeader(const Digest32& options) {
  std::string header(kMagic);
  PutU32(kRunFormat, &header);
  PutU32(0, &header);
  header.append(reinterpret_cast<const char*>(options.data()), options.size());
  PutU64(0, &header);
  PutU32(0, &header);
  PutU32(Crc32c(header), &header);
  return header;
}

// Up to `bytes` bytes from there; fewer at the end of the file.
absl::Status ReadAt(int fd, uint64_t offset, uint64_t bytes, std::string_view path, std::string* out) {
  out->resize(bytes);
  uint64_t done = 0;
  while (done < bytes) {
    const ssize_t n = pread(fd, out->data() + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot read", path);
    if (n == 0) break;
    done += static_cast<uint64_t>(n);
  }
  out->resize(done);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FrameLog> FrameLog::Open(const std::string& path, const Digest32& options, Mode mode) {
  FrameLog log;
  log.path_ = path;
  log.options_ = options;
  // One that was removed, being damaged, leaves a gap.
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1), stem = path.substr(slash + 1) + "-";
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return ErrnoStatus(errno, "cannot open the folder", folder);
  std::vector<uint32_t> numbers;
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(stem) || !name.ends_with(".log")) continue;
    const std::string_view digits = name.substr(stem.size(), name.size() - stem.size() - 4);
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error == std::errc() && end == digits.data() + digits.size() && name == NumberedName(stem, number)) numbers.push_back(number);
  }
  closedir(dir);
  std::sort(numbers.begin(), numbers.end());
  for (const uint32_t number : numbers) {
    const std::string name = NumberedName(path + "-", number);
    const int fd = open(name.c_str(), (mode == kWrite ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus(errno, "cannot open", name);
    log.files_.push_back({name, FileDescriptor(fd), 0});
    log.next_number_ = number + 1;
  }
  for (uint32_t i = 0; i < log.files_.size(); ++i) CM_RETURN_IF_ERROR(log.Scan(i, i + 1 == log.files_.size(), mode));
  return log;
}

absl::Status FrameLog::Scan(uint32_t index, bool last, Mode mode) {
  File& file = files_[index];
  struct stat info = {};
  if (fstat(file.descriptor.get(), &info) != 0) return ErrnoStatus(errno, "cannot look at", file.path);
  const auto size = static_cast<uint64_t>(info.st_size);
  const auto damaged = [&](uint64_t at, std::string_view what) {
    return absl::DataLossError(Cat("'", file.path, "': byte ", at, ": ", what, "; remove this file and start again: what the others hold is kept"));
  };
  std::string header;
  CM_RETURN_IF_ERROR(ReadAt(file.descriptor.get(), 0, kFileHeader, file.path, &header));
  uint64_t at = kFileHeader;
  if (header.size() < kFileHeader) {
    at = 0;  // a kill while the file was begun
  } else if (!header.starts_with(kMagic)) {
    return damaged(0, "this is not a file of a run");
  } else {
    uint32_t version;
    std::memcpy(&version, header.data() + 8, sizeof version);
    if (version != kRunFormat) {
      return absl::FailedPreconditionError(Cat("'", file.path, "': format version ", version, ", and this program knows ", kRunFormat));
    }
    if (header.substr(16, 32) != std::string_view(reinterpret_cast<const char*>(options_.data()), 32)) {
      return absl::FailedPreconditionError(Cat("'", file.path, "': this file belongs to a run with other options, another key or another input"));
    }
    if (header != FileHeader(options_)) return damaged(0, "the header is damaged");
  }
  while (at >= kFileHeader && at < size) {
    CM_RETURN_IF_ERROR(ReadAt(file.descriptor.get(), at, kFrameHeader, file.path, &header));
    if (header.size() < kFrameHeader) break;
    Reader in(header);
    const uint32_t magic = in.U32();
    const uint64_t number = in.U64();
    const uint64_t bytes = in.U64();
    const uint32_t crc = in.U32();
    if (magic != kFrameMagic || bytes > kPayloadLimit || in.U32() != Crc32c(std::string_view(header).substr(0, kFrameHeader - 4))) {
      return damaged(at, "the head of a frame is damaged");
    }
    if (bytes > size - at - kFrameHeader) break;
    if (at + kFrameHeader + bytes == size && last) {  // the last one: a power cut may have left its length and not its bytes
      std::string payload;
      CM_RETURN_IF_ERROR(ReadAt(file.descriptor.get(), at + kFrameHeader, bytes, file.path, &payload));
      if (Crc32c(payload) != crc) break;
    }
    frames_.try_emplace(number, Frame{index, crc, at + kFrameHeader, bytes});
    at += kFrameHeader + bytes;
  }
  if (at != size) {
    notes_.push_back(Cat(file.path, ": cut off at byte ", at, " of ", size, ", where the last whole piece of work ends; what is lost is done again"));
    if (mode == kWrite && ftruncate(file.descriptor.get(), static_cast<off_t>(at)) != 0) return ErrnoStatus(errno, "cannot cut", file.path);
  }
  file.size = at;
  if (at == 0 && mode == kWrite) CM_RETURN_IF_ERROR(Write(file, FileHeader(options_)));
  return absl::OkStatus();
}

absl::Status FrameLog::StartFile() {
  const std::string name = NumberedName(path_ + "-", next_number_);
  const int fd = open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot make", name);
  files_.push_back({name, FileDescriptor(fd), 0});
  ++next_number_;
  return Write(files_.back(), FileHeader(options_));
}

absl::Status FrameLog::Write(File& file, std::string_view bytes) {
  uint64_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = pwrite(file.descriptor.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(file.size + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n < 0 ? errno : ENOSPC;
      if (ftruncate(file.descriptor.get(), static_cast<off_t>(file.size)) != 0) return ErrnoStatus(errno, "cannot cut", file.path);
      return ErrnoStatus(error, "cannot write", file.path);
    }
    done += static_cast<uint64_t>(n);
  }
  file.size += done;
  return absl::OkStatus();
}

absl::Status FrameLog::Append(uint64_t number, std::string_view payload) {
  std::string frame;
  frame.reserve(kFrameHeader + payload.size());
  PutU32(kFrameMagic, &frame);
  PutU64(number, &frame);
  PutU64(payload.size(), &frame);
  const uint32_t crc = Crc32c(payload);
  PutU32(crc, &frame);
  PutU32(Crc32c(frame), &frame);
  frame.append(payload);
  std::lock_guard<std::mutex> lock(*mutex_);
  if (files_.empty() || files_.back().size >= kFileLimit) {
    CM_RETURN_IF_ERROR(StartFile());
  }
  File& file = files_.back();
  const uint64_t at = file.size;
  CM_RETURN_IF_ERROR(Write(file, frame));
  frames_.try_emplace(number, Frame{static_cast<uint32_t>(files_.size() - 1), crc, at + kFrameHeader, payload.size()});
  return absl::OkStatus();
}

absl::Status FrameLog::Sync() {
  std::lock_guard<std::mutex> lock(*mutex_);
  for (const File& file : files_) {
    if (fdatasync(file.descriptor.get()) != 0 && errno != EINVAL) return ErrnoStatus(errno, "cannot sync", file.path);
  }
  return absl::OkStatus();
}

bool FrameLog::Has(uint64_t number) const {
  std::lock_guard<std::mutex> lock(*mutex_);
  return frames_.contains(number);
}

uint64_t FrameLog::bytes() const {
  std::lock_guard<std::mutex> lock(*mutex_);
  uint64_t sum = 0;
  for (const File& file : files_) sum += file.size;
  return sum;
}

bool FrameLog::Find(uint64_t number, Found* found) const {
  std::lock_guard<std::mutex> lock(*mutex_);
  const auto at = frames_.find(number);
  if (at == frames_.end()) return false;
  found->frame = at->second;
  found->descriptor = files_[at->second.file].descriptor.get();
  found->path = files_[at->second.file].path;
  return true;
}

std::string FrameLog::Place(uint64_t number) const {
  Found found;
  if (!Find(number, &found)) return Cat("'", path_, "': piece ", number);
  return Cat("'", found.path, "': byte ", found.frame.offset);
}

uint64_t FrameLog::PayloadBytes(uint64_t number) const {
  Found found;
  return Find(number, &found) ? found.frame.bytes : 0;
}

absl::Status FrameLog::ReadPart(uint64_t number, uint64_t offset, uint64_t bytes, std::string* out) const {
  Found found;
  if (!Find(number, &found)) return absl::NotFoundError(Cat("'", path_, "': piece ", number, " is missing"));
  if (offset > found.frame.bytes || bytes > found.frame.bytes - offset) return absl::DataLossError(Cat(Place(number), ": the piece is shorter than it says"));
  CM_RETURN_IF_ERROR(ReadAt(found.descriptor, found.frame.offset + offset, bytes, found.path, out));
  if (out->size() != bytes) return absl::DataLossError(Cat("'", found.path, "': byte ", found.frame.offset + offset + out->size(), ": the file ends too early"));
  return absl::OkStatus();
}

absl::StatusOr<std::string> FrameLog::Read(uint64_t number) const {
  Found found;
  std::string payload;
  CM_RETURN_IF_ERROR(ReadPart(number, 0, PayloadBytes(number), &payload));
  if (!Find(number, &found) || Crc32c(payload) != found.frame.crc) {
    return absl::DataLossError(Cat(Place(number), ": the checksum does not fit; remove this file and start again: what the others hold is kept"));
  }
  return payload;
}

}  // namespace countermark::audit
