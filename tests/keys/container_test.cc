// The container: every byte altered, every truncation, every cost out of bounds. Run at the lowest scrypt cost there is, so that the
// whole file can be walked; the way through the code is that of the full cost.
#include "keys/container.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "countermark/keys/key_store.h"
#include "keys/body.h"
#include "tests/keys/test_files.h"

namespace countermark::keys_internal {
namespace {

using ::testing::HasSubstr;

constexpr ScryptCost kLow = {2, 1, 1};

SecretBytes Passphrase(std::string_view text = "correct horse") { return SecretBytes(text); }

std::string SmallStore() {
  StoreBody body{"acme", Secret32::Random(), {"org-1"}, {}, Secret32::Random()};
  body.epochs.push_back({TestRecord(), Secret32::Random()});
  const absl::StatusOr<std::string> file = SealContainer(ContainerType::kKeyStore, EncodeStoreBody(body), Passphrase(), kLow);
  EXPECT_TRUE(file.ok());
  return *file;
}

absl::Status OpenWhole(const std::string& file, const SecretBytes& passphrase) {
  const absl::StatusOr<SecretBytes> body = OpenContainer(file, ContainerType::kKeyStore, passphrase, "store");
  if (!body.ok()) return body.status();
  return DecodeStoreBody(body->Reveal(SecretAccess())).status();
}

TEST(Container, OpensWhatItSeals) {
  EXPECT_TRUE(OpenWhole(SmallStore(), Passphrase()).ok());
  EXPECT_EQ(OpenWhole(SmallStore(), Passphrase("correct horsf")).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(OpenWhole(SmallStore(), Passphrase("")).code(), absl::StatusCode::kPermissionDenied);
}

TEST(Container, TwoSealsOfOneBodyShareNothing) {
  const SecretBytes body(std::string_view("the same body"));
  const std::string a = *SealContainer(ContainerType::kKeyStore, body, Passphrase(), kLow);
  const std::string b = *SealContainer(ContainerType::kKeyStore, body, Passphrase(), kLow);
  EXPECT_NE(a.substr(24, 32), b.substr(24, 32));   // salt
  EXPECT_NE(a.substr(56, 12), b.substr(56, 12));   // nonce
  EXPECT_NE(a.substr(kHeaderSize), b.substr(kHeaderSize));
}

TEST(Container, EveryAlteredByteIsAnError) {
  const std::string good = SmallStore();
  for (size_t at = 0; at < good.size(); ++at) {
    for (const int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ flip);
      const absl::Status status = OpenWhole(bad, Passphrase());
      ASSERT_FALSE(status.ok()) << "byte " << at;
      ASSERT_TRUE(absl::IsPermissionDenied(status) || absl::IsDataLoss(status)) << "byte " << at << ": " << status;
      ASSERT_TRUE(at < kHeaderSize || absl::IsPermissionDenied(status)) << "byte " << at << ": " << status;
    }
  }
}

TEST(Container, EveryTruncationAndAnyAppendedByteIsAnError) {
  const std::string good = SmallStore();
  for (size_t size = 0; size < good.size(); ++size) {
    ASSERT_TRUE(absl::IsDataLoss(OpenWhole(good.substr(0, size), Passphrase()))) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(OpenWhole(good + '\0', Passphrase())));
  EXPECT_TRUE(absl::IsDataLoss(OpenWhole(good + good, Passphrase())));
}

void SetInteger(std::string* file, size_t at, uint32_t value) {
  for (int i = 0; i < 4; ++i) (*file)[at + static_cast<size_t>(i)] = static_cast<char>(value >> (8 * i));
}

// A file may not take a gigabyte or an hour before it is found to be false: bounds come first, and only the header is read.
TEST(Container, ACostOutOfBoundsIsRefusedBeforeScryptRuns) {
  const std::string good = SmallStore();
  const auto with = [&](uint32_t n, uint32_t r, uint32_t p) {
    std::string file = good;
    SetInteger(&file, 12, n);
    SetInteger(&file, 16, r);
    SetInteger(&file, 20, p);
    return ParseContainerHeader(file, ContainerType::kKeyStore, "store").status();
  };
  EXPECT_TRUE(with(1 << 15, 8, 1).ok());
  EXPECT_TRUE(with(1 << 20, 8, 1).ok());
  for (const ScryptCost& cost : {ScryptCost{0, 8, 1}, {1, 8, 1}, {3, 8, 1}, {1 << 21, 1, 1}, {1u << 31, 1, 1}, {1 << 15, 0, 1}, {1 << 15, 17, 1},
                                 {1 << 15, 8, 0}, {1 << 15, 8, 17}, {1 << 20, 16, 1}, {1 << 20, 8, 2}, {0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}}) {
    const absl::Status status = with(cost.n, cost.r, cost.p);
    EXPECT_TRUE(absl::IsDataLoss(status)) << cost.n << " " << cost.r << " " << cost.p;
    EXPECT_THAT(std::string(status.message()), HasSubstr("bytes 12 to 23"));
  }
}

TEST(Container, SaysWhatItIsNot) {
  const std::string good = SmallStore();
  EXPECT_THAT(std::string(ParseContainerHeader(good, ContainerType::kBundle, "b").status().message()), HasSubstr("it is a key store"));
  EXPECT_THAT(std::string(ParseContainerHeader("{}", ContainerType::kBundle, "b").status().message()), HasSubstr("magic"));
  std::string newer = good;
  newer[8] = 2;
  EXPECT_THAT(std::string(OpenWhole(newer, Passphrase()).message()), HasSubstr("version 2"));
  std::string long_body = good;
  long_body[75] = 0x7F;   // a length near 2^63
  EXPECT_TRUE(absl::IsDataLoss(OpenWhole(long_body, Passphrase())));
}

// What is written is at the full cost, whatever the file that was opened had.
TEST(Container, ASaveGoesBackToTheFullCost) {
  const TestFolder folder;
  const std::string path = folder / "keys.cmks";
  Spill(path, SmallStore());
  absl::StatusOr<KeyStore> store = KeyStore::Open(path, Passphrase());
  ASSERT_TRUE(store.ok()) << store.status();
  ASSERT_TRUE(store->Save().ok());
  const absl::StatusOr<ContainerHeader> header = ParseContainerHeader(Slurp(path), ContainerType::kKeyStore, "store");
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->cost.n, 32768u);
  EXPECT_EQ(header->cost.r, 8u);
  EXPECT_EQ(header->cost.p, 1u);
}

TEST(Body, OnlyTheCanonicalBytesAreRead) {
  const SecretBytes encoded = EncodeStoreBody({"acme", Secret32::Random(), {"b", "a"}, {}, std::nullopt});
  const std::span<const uint8_t> bytes = encoded.Reveal(SecretAccess());
  const std::string good(bytes.begin(), bytes.end());
  const auto decode = [](const std::string& text) {
    return DecodeStoreBody({reinterpret_cast<const uint8_t*>(text.data()), text.size()}).status();
  };
  ASSERT_TRUE(decode(good).ok());
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& bad : {good + " ", " " + good, replaced("\"format\":1", "\"format\":2"), replaced("\"format\":1,", ""),
                                 replaced("\"format\":1", "\"format\":1,\"format\":1"), replaced("\"acme\"", "\"\""), replaced("\"b\"", "\"a\""),
                                 replaced("\"b\"", "\"\\u0062\""), replaced("[\"b\"", "[ \"b\""), replaced("\"epochs\":[]", "\"epochs\":[{}]"),
                                 replaced("\"epochs\":[]", "\"epochs\":{}"), replaced("null", "\"00\""), replaced("\"master\":\"", "\"master\":\"0"),
                                 replaced("{\"accounts\"", "{\"a\":1,\"accounts\""), std::string("[]"), std::string("null"), std::string()}) {
    const absl::Status status = decode(bad);
    EXPECT_TRUE(absl::IsDataLoss(status)) << bad;
  }
}

}  // namespace
}  // namespace countermark::keys_internal
