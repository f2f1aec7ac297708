#include "src/detect/byte_source.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "src/base/file.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

constexpr size_t kBuffer = 1 << 18;

// The bytes on the disk, with a look ahead at the first four.
class Raw {
 public:
  Raw(FileDescriptor descriptor, int number, std::string name, bool hash)
      : descriptor_(std::move(descriptor)), number_(number), name_(std::move(name)), buffer_(kBuffer) {
    if (hash) {
      digest_ = EVP_MD_CTX_new();
      EVP_DigestInit_ex(digest_, EVP_sha256(), nullptr);
    }
  }
  ~Raw() { EVP_MD_CTX_free(digest_); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;

  // What is buffered; fills first when it is used up. Empty at the end.
  absl::StatusOr<std::span<const uint8_t>> Peek() {
    if (begin_ == end_) {
      begin_ = end_ = 0;
      CM_RETURN_IF_ERROR(Fill());
    }
    return std::span<const uint8_t>(buffer_.data() + begin_, end_ - begin_);
  }
  void Consume(size_t n) { begin_ += n; }
  // Peek with four bytes at least, if there are so many.
  absl::StatusOr<std::span<const uint8_t>> PeekMagic() {
    while (end_ - begin_ < 4) {
      const size_t before = end_;
      CM_RETURN_IF_ERROR(Fill());
      if (end_ == before) break;
    }
    return std::span<const uint8_t>(buffer_.data() + begin_, end_ - begin_);
  }

  uint64_t total() const { return total_; }
  std::string Sha256Hex() const {
    if (digest_ == nullptr) return "";
    uint8_t out[32];
    EVP_MD_CTX* copy = EVP_MD_CTX_new();
    EVP_MD_CTX_copy_ex(copy, digest_);
    EVP_DigestFinal_ex(copy, out, nullptr);
    EVP_MD_CTX_free(copy);
    return HexEncode(out);
  }

 private:
  absl::Status Fill() {
    if (begin_ > 0 && begin_ < end_) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    while (true) {
      const ssize_t n = read(number_, buffer_.data() + end_, buffer_.size() - end_);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, "cannot read", name_);
      if (digest_ != nullptr) EVP_DigestUpdate(digest_, buffer_.data() + end_, static_cast<size_t>(n));
      end_ += static_cast<size_t>(n);
      total_ += static_cast<uint64_t>(n);
      return absl::OkStatus();
    }
  }

  FileDescriptor descriptor_;
  int number_;
  std::string name_;
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t total_ = 0;
  EVP_MD_CTX* digest_ = nullptr;
};

class Plain : public ByteSource {
 public:
  explicit Plain(std::unique_ptr<Raw> raw) : raw_(std::move(raw)) {}
  absl::StatusOr<size_t> Read(std::span<char> out) override {
    CM_ASSIGN_OR_RETURN(std::span<const uint8_t> have, raw_->Peek());
    const size_t n = std::min(out.size(), have.size());
    std::memcpy(out.data(), have.data(), n);
    raw_->Consume(n);
    return n;
  }
  uint64_t bytes_on_disk() const override { return raw_->total(); }
  std::string Sha256Hex() const override { return raw_->Sha256Hex(); }

 protected:
  std::unique_ptr<Raw> raw_;
};

class Gzip : public Plain {
 public:
  explicit Gzip(std::unique_ptr<Raw> raw) : Plain(std::move(raw)) { inflateInit2(&stream_, 15 + 16); }
  ~Gzip() override { inflateEnd(&stream_); }
  absl::StatusOr<size_t> Read(std::span<char> out) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    while (stream_.avail_out == out.size()) {
      CM_ASSIGN_OR_RETURN(std::span<const uint8_t> have, between_members_ ? raw_->PeekMagic() : raw_->Peek());
      if (have.empty()) {
        if (between_members_) return 0;
        return absl::DataLossError("the gzip stream breaks off");
      }
      if (between_members_) {
        if (have[0] == 0) {  // padding, as tape blocks leave it
          raw_->Consume(1);
          continue;
        }
        if (have.size() < 2 || have[0] != 0x1f || have[1] != 0x8b) return absl::DataLossError("bytes that are not gzip follow the gzip stream");
        inflateReset(&stream_);
        between_members_ = false;
      }
      stream_.next_in = const_cast<Bytef*>(have.data());
      stream_.avail_in = static_cast<uInt>(have.size());
      const int code = inflate(&stream_, Z_NO_FLUSH);
      raw_->Consume(have.size() - stream_.avail_in);
      if (code == Z_STREAM_END) {
        between_members_ = true;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return absl::DataLossError(Cat("the gzip stream is damaged: ", stream_.msg != nullptr ? stream_.msg : zError(code)));
      }
    }
    return out.size() - stream_.avail_out;
  }

 private:
  z_stream stream_ = {};
  bool between_members_ = false;
};

class Zstandard : public Plain {
 public:
  explicit Zstandard(std::unique_ptr<Raw> raw) : Plain(std::move(raw)), stream_(ZSTD_createDStream()) {}
  ~Zstandard() override { ZSTD_freeDStream(stream_); }
  absl::StatusOr<size_t> Read(std::span<char> out) override {
    ZSTD_outBuffer to = {out.data(), out.size(), 0};
    while (to.pos == 0) {
      CM_ASSIGN_OR_RETURN(std::span<const uint8_t> have, raw_->Peek());
      ZSTD_inBuffer from = {have.data(), have.size(), 0};
      if (have.empty() && frame_over_) return 0;
      const size_t code = ZSTD_decompressStream(stream_, &to, &from);
      raw_->Consume(from.pos);
      if (ZSTD_isError(code)) return absl::DataLossError(Cat("the Zstandard stream is damaged: ", ZSTD_getErrorName(code)));
      frame_over_ = code == 0;
      if (have.empty() && to.pos == 0 && !frame_over_) return absl::DataLossError("the Zstandard stream breaks off");
    }
    return to.pos;
  }

 private:
  ZSTD_DStream* stream_;
  bool frame_over_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path, bool hash) {
  FileDescriptor descriptor;
  int number = STDIN_FILENO;
  if (path != "-") {
    CM_ASSIGN_OR_RETURN(descriptor, OpenForReading(path));
    number = descriptor.get();
  }
  auto raw = std::make_unique<Raw>(std::move(descriptor), number, path == "-" ? "standard input" : path, hash);
  CM_ASSIGN_OR_RETURN(std::span<const uint8_t> magic, raw->PeekMagic());
  std::unique_ptr<ByteSource> source;
  if (magic.size() >= 2 && magic[0] == 0x1f && magic[1] == 0x8b) {
    source = std::make_unique<Gzip>(std::move(raw));
  } else if (magic.size() >= 4 && magic[0] == 0x28 && magic[1] == 0xb5 && magic[2] == 0x2f && magic[3] == 0xfd) {
    source = std::make_unique<Zstandard>(std::move(raw));
  } else {
    source = std::make_unique<Plain>(std::move(raw));
  }
  return source;
}

}  // namespace countermark
