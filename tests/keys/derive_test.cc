// The key tree and the commitments against the format's vectors, and against OpenSSL's own HKDF.
#include "countermark/keys/derive.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "countermark/keys/digest.h"
#include "src/base/hex.h"
#include "tests/keys/test_files.h"

namespace countermark {
namespace {

nlohmann::json Vectors() {
  std::ifstream in(COUNTERMARK_TEST_VECTORS "/mark-v1.json");
  return nlohmann::json::parse(in);
}

Digest32 FromHex(const std::string& digits) {
  Digest32 out;
  EXPECT_TRUE(HexDecodeInto(digits, out)) << digits;
  return out;
}

std::string Hex(const Secret32& key) { return HexEncode({key.Reveal(SecretAccess()), 32}); }

// DeriveKey takes a list known at compile time; the vectors have one to three labels.
Secret32 Derive(const Secret32& parent, const std::vector<std::string>& labels) {
  switch (labels.size()) {
    case 1: return DeriveKey(parent, {labels[0]});
    case 2: return DeriveKey(parent, {labels[0], labels[1]});
    default: return DeriveKey(parent, {labels.at(0), labels.at(1), labels.at(2)});
  }
}

TEST(Derive, MatchesEveryVector) {
  const nlohmann::json vectors = Vectors()["derive"];
  ASSERT_GE(vectors.size(), 9u);
  for (const auto& vector : vectors) {
    const Secret32 parent(FromHex(vector["parent"]));
    EXPECT_EQ(Hex(Derive(parent, vector["labels"])), vector["key"]) << vector["name"];
  }
}

TEST(Derive, TheNamedFunctionsUseTheirLabels) {
  const nlohmann::json vectors = Vectors()["derive"];   // named: a loop over a member of a temporary would outlive it
  int checked = 0;
  for (const auto& vector : vectors) {
    const Secret32 parent(FromHex(vector["parent"]));
    const std::string name = vector["name"];
    const std::vector<std::string> labels = vector["labels"];
    if (name == "epoch") {
      ++checked;
      EXPECT_EQ(Hex(DeriveEpochKey(parent, labels[1], labels[2])), vector["key"]);
    }
    if (name == "base") {
      ++checked;
      EXPECT_EQ(Hex(DeriveBaseKey(parent)), vector["key"]);
    }
    if (name == "route") {
      ++checked;
      EXPECT_EQ(Hex(DeriveRouteKey(parent)), vector["key"]);
    }
    if (name == "account") {
      ++checked;
      EXPECT_EQ(Hex(DeriveAccountKey(parent, labels[1])), vector["key"]);
    }
    if (name == "request") {
      ++checked;
      EXPECT_EQ(Hex(DeriveRequestKey(parent, labels[1])), vector["key"]);
    }
    if (name == "canary") {
      ++checked;
      EXPECT_EQ(Hex(DeriveCanaryKey(parent, labels[1], labels[2])), vector["key"]);
    }
  }
  EXPECT_EQ(checked, 6);
}

TEST(Derive, MatchesOpenSslsHkdf) {
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  ASSERT_NE(kdf, nullptr);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{31}, size_t{32}, size_t{50}, size_t{119}, size_t{254}}) {
    const Secret32 parent = Secret32::Random();
    const std::string label(size, 'k');
    std::string info = "countermark/v1";
    info.push_back(static_cast<char>(size));
    info += label;
    uint8_t key[32], ikm[32], salt[1] = {0};
    std::copy_n(parent.Reveal(SecretAccess()), 32, ikm);
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, ikm, sizeof ikm),
                               OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, 0),
                               OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()), OSSL_PARAM_construct_end()};
    EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
    ASSERT_EQ(EVP_KDF_derive(context, key, sizeof key, parameters), 1);
    EVP_KDF_CTX_free(context);
    EXPECT_EQ(Hex(DeriveKey(parent, {label})), HexEncode(key)) << size;
  }
  EVP_KDF_free(kdf);
}

TEST(Derive, LabelsDoNotRunTogether) {
  const Secret32 parent = Secret32::Random();
  EXPECT_NE(Hex(DeriveKey(parent, {"ab", "c"})), Hex(DeriveKey(parent, {"a", "bc"})));
  EXPECT_NE(Hex(DeriveKey(parent, {"abc"})), Hex(DeriveKey(parent, {"abc", ""})));
}

TEST(Commit, MatchesEveryVector) {
  const nlohmann::json vectors = Vectors()["commit"];
  ASSERT_GE(vectors.size(), 1u);
  for (const auto& vector : vectors) {
    const Digest32 got = CommitToKey(FromHex(vector["salt"]), Secret32(FromHex(vector["key"])), std::string(vector["record"]));
    EXPECT_EQ(HexEncode(got), vector["commitment"]);
  }
}

TEST(Commit, HangsOnSaltKeyAndRecord) {
  const Secret32 key = Secret32::Random();
  const Digest32 salt{};
  Digest32 other_salt{};
  other_salt[31] = 1;
  const Digest32 commitment = CommitToKey(salt, key, "{}");
  EXPECT_NE(commitment, CommitToKey(other_salt, key, "{}"));
  EXPECT_NE(commitment, CommitToKey(salt, Secret32::Random(), "{}"));
  EXPECT_NE(commitment, CommitToKey(salt, key, "{ }"));
}

TEST(Sha256, PublishedAnswers) {   // FIPS 180-4's examples
  EXPECT_EQ(HexEncode(Sha256(std::string_view(""))), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexEncode(Sha256(std::string_view("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const TestFolder folder;
  for (const size_t size : {size_t{0}, size_t{3}, size_t{1} << 20, (size_t{1} << 20) + 1, size_t{3} << 20}) {
    std::string bytes(size, 'z');
    for (size_t i = 0; i < size; i += 4099) bytes[i] = static_cast<char>(i);
    Spill(folder / "f", bytes);
    EXPECT_EQ(*Sha256File(folder / "f"), Sha256(bytes)) << size;
  }
  EXPECT_TRUE(absl::IsNotFound(Sha256File(folder / "none").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Sha256File(folder / ".").status()));
}

}  // namespace
}  // namespace countermark
