#include "countermark/evidence/ed25519.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/base/hex.h"
#include "tests/evidence/sample.h"

namespace countermark {
namespace {

template <size_t N>
std::array<uint8_t, N> FromHex(std::string_view digits) {
  std::array<uint8_t, N> out;
  EXPECT_TRUE(HexDecodeInto(digits, out)) << digits;
  return out;
}

struct Known {
  const char* seed;
  const char* public_key;
  std::string message;
  const char* signature;
};

// RFC 8032, section 7.1: TEST 1, 2, 3 and SHA(abc).
std::vector<Known> Rfc8032() {
  const auto sha_abc = FromHex<64>(
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
  return {{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
           "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
          {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "\x72",
           "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
          {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "\xaf\x82",
           "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
          {"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42", "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
           std::string(sha_abc.begin(), sha_abc.end()),
           "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"}};
}

TEST(Ed25519, KnownAnswersOfRfc8032) {
  for (const Known& known : Rfc8032()) {
    const auto seed_bytes = FromHex<32>(known.seed);
    const Secret32 seed(seed_bytes);
    EXPECT_EQ(HexEncode(Ed25519PublicKeyOf(seed)), known.public_key);
    EXPECT_EQ(HexEncode(Ed25519Sign(seed, known.message)), known.signature);
    EXPECT_TRUE(Ed25519Verify(FromHex<32>(known.public_key), known.message, FromHex<64>(known.signature)));
  }
}

TEST(Ed25519, EveryAlteredBitIsRefused) {
  const Known known = Rfc8032()[2];
  const auto key = FromHex<32>(known.public_key);
  const auto signature = FromHex<64>(known.signature);
  for (size_t bit = 0; bit < 512; ++bit) {
    Ed25519Signature altered = signature;
    altered[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_FALSE(Ed25519Verify(key, known.message, altered)) << bit;
  }
  for (size_t bit = 0; bit < 256; ++bit) {
    Ed25519PublicKey altered = key;
    altered[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_FALSE(Ed25519Verify(altered, known.message, signature)) << bit;
  }
  EXPECT_FALSE(Ed25519Verify(key, known.message + '\0', signature));
}

// RFC 8410, section 10.1.
constexpr char kPem[] = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

TEST(Ed25519, PemOfRfc8410) {
  const auto seed_bytes = FromHex<32>("d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842");
  const Ed25519PublicKey key = Ed25519PublicKeyOf(Secret32(seed_bytes));
  EXPECT_EQ(Ed25519PublicKeyPem(key), kPem);
  const auto parsed = ParseEd25519PublicKeyPem(kPem);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, key);
}

TEST(Ed25519, OtherTextIsNoPublicKey) {
  EXPECT_FALSE(ParseEd25519PublicKeyPem("").ok());
  EXPECT_FALSE(ParseEd25519PublicKeyPem("-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n").ok());
  EXPECT_FALSE(ParseEd25519PublicKeyPem(std::string(1 << 17, 'A')).ok());
  // X25519, the neighbour: OID 1.3.101.110.
  const auto x25519 = ParseEd25519PublicKeyPem(
      "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n");
  EXPECT_THAT(std::string(x25519.status().message()), ::testing::HasSubstr("not an Ed25519 key"));
  const auto secret = ParseEd25519PublicKeyPem("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n");
  EXPECT_THAT(std::string(secret.status().message()), ::testing::AllOf(::testing::HasSubstr("private key"), ::testing::Not(::testing::HasSubstr("MC4C"))));
}

}  // namespace
}  // namespace countermark
