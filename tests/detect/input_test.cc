#include "countermark/detect/input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "src/detect/utf8.h"

namespace countermark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class InputTest : public ::testing::Test {
 protected:
  InputTest() {
    char name[] = "/tmp/countermark_input_XXXXXX";
    dir_ = mkdtemp(name);
  }
  ~InputTest() override { std::filesystem::remove_all(dir_); }

  std::string Write(const std::string& name, std::string_view bytes) {
    const std::string path = dir_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path;
  }

  struct Seen {
    InputRecord record;
    RawRecord raw;
    absl::Status status;
  };
  static std::vector<Seen> ReadAll(const std::vector<std::string>& files, const InputOptions& options) {
    InputReader reader(files, options);
    std::vector<Seen> all;
    RawRecord raw;
    while (reader.Next(&raw)) {
      Seen seen;
      seen.status = ParseRecord(raw, reader.files()[raw.file].path, options, &seen.record);
      seen.raw = raw;
      all.push_back(std::move(seen));
    }
    return all;
  }

  std::string dir_;
};

InputOptions Ids() {
  InputOptions options;
  options.token_ids_field = "ids";
  return options;
}

std::string Gzip(std::string_view bytes) {
  z_stream z = {};
  deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, bytes.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(out.size() - z.avail_out);
  deflateEnd(&z);
  return out;
}

std::string Zstd(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

TEST_F(InputTest, JsonLinesGiveTheirMembersAndPlaces) {
  const std::string path = Write("a.jsonl", "{\"id\":\"x\",\"ids\":[1,2,3],\"other\":{\"ids\":[9.5],\"id\":7}}\n\n  \r\n{\"ids\":[ ],\"id\":42}\r\n{\"ids\":[4294967295]}");
  const std::vector<Seen> all = ReadAll({path}, Ids());
  ASSERT_EQ(all.size(), 3u);
  for (const Seen& seen : all) EXPECT_TRUE(seen.status.ok()) << seen.status;
  EXPECT_EQ(all[0].record.id, "x");
  EXPECT_THAT(all[0].record.ids, ElementsAre(1, 2, 3));
  EXPECT_EQ(all[1].record.id, "42");
  EXPECT_TRUE(all[1].record.ids.empty());
  EXPECT_EQ(all[1].raw.line, 4u);
  EXPECT_EQ(all[1].raw.byte, 59u);
  EXPECT_EQ(all[2].record.id, path + ":5");
  EXPECT_THAT(all[2].record.ids, ElementsAre(4294967295u));
  absl::StatusOr<uint64_t> count = CountRecords(std::vector<std::string>{path}, Ids());
  ASSERT_TRUE(count.ok());
  EXPECT_EQ(*count, 3u);
}

TEST_F(InputTest, BrokenJsonNamesTheByteAndTheRestIsRead) {
  const std::string first = "{\"ids\":[1]}\n";
  const std::string path = Write("a.jsonl", first + "{\"ids\":[1,}\n" + "{\"ids\":[2]}\n");
  const std::vector<Seen> all = ReadAll({path}, Ids());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(all[0].status.ok());
  EXPECT_FALSE(all[1].status.ok());
  EXPECT_EQ(all[1].raw.line, 2u);
  EXPECT_THAT(std::string(all[1].status.message()), HasSubstr("not JSON"));
  EXPECT_EQ(all[1].record.error_byte, first.size() + 10);
  EXPECT_TRUE(all[2].status.ok());
}

TEST_F(InputTest, WhatIsNotATokenIdIsAnErrorThatSaysWhere) {
  const std::pair<const char*, const char*> bad[] = {
      {"{\"ids\":[1,-2]}", "'ids': position 1: -2 is not a token id"},
      {"{\"ids\":[1.0]}", "'ids': position 0: 1.0 is not a token id"},
      {"{\"ids\":[1,2,1e3]}", "'ids': position 2: 1e3 is not a token id"},
      {"{\"ids\":[4294967296]}", "'ids': position 0: 4294967296 is not a token id"},
      {"{\"ids\":[99999999999999999999]}", "is not a token id"},
      {"{\"ids\":[\"1\"]}", "'ids': position 0: a string is not a token id"},
      {"{\"ids\":[null]}", "'ids': position 0: null is not a token id"},
      {"{\"ids\":[true]}", "boolean"},
      {"{\"ids\":[[1]]}", "'ids': position 0: an array is not a token id"},
      {"{\"ids\":[{}]}", "'ids': position 0: an object is not a token id"},
      {"{\"ids\":\"1 2\"}", "'ids' is a string, not an array of token ids"},
      {"{\"ids\":7}", "'ids' is a number, not an array of token ids"},
      {"{\"ids\":{}}", "'ids' is an object, not an array of token ids"},
      {"{\"ids\":null}", "'ids' is null"},
      {"{\"other\":[1]}", "no member 'ids'"},
      {"{}", "no member 'ids'"},
      {"{\"ids\":[1],\"ids\":[2]}", "'ids' stands in the object twice"},
      {"{\"ids\":[1],\"id\":1.5}", "'id' is a number"},
      {"[1,2]", "the line is not a JSON object"},
      {"17", "the line is not a JSON object"},
      {"null", "the line is not a JSON object"},
      {"\"ids\"", "the line is not a JSON object"},
      {"{\"ids\":[1]} x", "not JSON"},
      {"{\"ids\":[1]", "not JSON"},
      {"{\"id\":\"\xff\",\"ids\":[1]}", "not JSON"},
  };
  for (const auto& [line, message] : bad) {
    const std::vector<Seen> all = ReadAll({Write("bad.jsonl", line)}, Ids());
    ASSERT_EQ(all.size(), 1u) << line;
    EXPECT_FALSE(all[0].status.ok()) << line;
    EXPECT_THAT(std::string(all[0].status.message()), HasSubstr(message)) << line;
  }
}

TEST_F(InputTest, TextFieldAndPrompts) {
  InputOptions options;
  options.text_field = "answer";
  options.prompt_field = "prompt";
  const std::vector<Seen> all = ReadAll({Write("a.jsonl",
                                               "{\"answer\":\"a\\u0000b \\ud83d\\ude00\",\"prompt\":\"why?\"}\n{\"answer\":\"x\",\"prompt\":null}\n"
                                               "{\"answer\":\"x\"}\n{\"answer\":[1],\"prompt\":\"\"}\n")},
                                        options);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].record.text, std::string("a\0b \xF0\x9F\x98\x80", 8));
  EXPECT_FALSE(all[0].record.has_ids);
  EXPECT_TRUE(all[0].record.has_prompt);
  EXPECT_EQ(all[0].record.prompt_text, "why?");
  EXPECT_TRUE(all[1].status.ok());
  EXPECT_FALSE(all[1].record.has_prompt);
  EXPECT_THAT(std::string(all[2].status.message()), HasSubstr("no member 'prompt'"));
  EXPECT_THAT(std::string(all[3].status.message()), HasSubstr("'answer' is an array, not a string"));

  InputOptions with_ids = Ids();
  with_ids.prompt_ids_field = "p";
  const std::vector<Seen> ids = ReadAll({Write("b.jsonl", "{\"ids\":[1,2],\"p\":[3,4]}\n{\"p\":[5.5],\"ids\":[1]}\n")}, with_ids);
  EXPECT_THAT(ids[0].record.prompt_ids, ElementsAre(3, 4));
  EXPECT_THAT(std::string(ids[1].status.message()), HasSubstr("'p': position 0: 5.5"));
}

TEST_F(InputTest, CsvFollowsRfc4180) {
  InputOptions options;
  options.text_field = "text";
  const std::string path = Write("a.csv", "\xEF\xBB\xBFid,text\r\n1,\"a, \"\"b\"\"\nc\"\r\n2,plain\r\n3\n4,a\"b\n5,\"x\"y\n\n6,last");
  const std::vector<Seen> all = ReadAll({path}, options);
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(all[0].record.id, "1");
  EXPECT_EQ(all[0].record.text, "a, \"b\"\nc");
  EXPECT_EQ(all[0].raw.line, 2u);
  EXPECT_EQ(all[1].record.text, "plain");
  EXPECT_EQ(all[1].raw.line, 4u);
  EXPECT_THAT(std::string(all[2].status.message()), HasSubstr("the row has 1 cells, and the first row names 2 columns"));
  EXPECT_THAT(std::string(all[3].status.message()), HasSubstr("a quote stands inside"));
  EXPECT_THAT(std::string(all[4].status.message()), HasSubstr("text follows a closed quote"));
  EXPECT_EQ(all[5].record.text, "last");
  EXPECT_EQ(all[5].record.id, "6");

  const std::vector<Seen> open = ReadAll({Write("open.csv", "text\n\"never closed\n")}, options);
  ASSERT_EQ(open.size(), 1u);
  EXPECT_THAT(std::string(open[0].status.message()), HasSubstr("not closed"));
  const std::vector<Seen> other = ReadAll({Write("other.csv", "words\nx\n")}, options);
  EXPECT_THAT(std::string(other[0].status.message()), HasSubstr("no column 'text'"));
}

// A row that is not well formed costs its first line: what a stray quote would have swallowed is read.
TEST_F(InputTest, AStrayQuoteCostsALine) {
  InputOptions options;
  options.text_field = "text";
  options.max_record_bytes = 300000;
  std::string rows = "id,text\n1,one\n2,\"never closed\n", plain;
  for (int i = 0; i < 40000; ++i) plain += "x,row " + std::to_string(i) + "\n";  // beyond a record's length
  const auto readable = [](const std::vector<Seen>& all) { return std::count_if(all.begin(), all.end(), [](const Seen& seen) { return seen.status.ok(); }); };
  std::vector<Seen> all = ReadAll({Write("long.csv", rows + plain)}, options);
  ASSERT_EQ(all.size(), 40002u);
  EXPECT_EQ(readable(all), 40001);
  EXPECT_EQ(all[1].raw.line, 3u);
  EXPECT_EQ(all[1].raw.byte, 14u);
  EXPECT_THAT(std::string(all[1].status.message()), HasSubstr("cell 2: its quote is not closed, or the record is longer than 300000 bytes"));
  EXPECT_EQ(all[40001].record.text, "row 39999");
  EXPECT_EQ(all[40001].raw.line, 40003u);
  all = ReadAll({Write("short.csv", rows + "3,three\n4,\"f\nour\"\n5,\"fi\"ve\n6,six")}, options);
  ASSERT_EQ(all.size(), 6u);  // the quote is closed before "f"; then 4 is read again, by itself
  EXPECT_THAT(std::string(all[1].status.message()), HasSubstr("text follows a closed quote"));
  EXPECT_EQ(all[2].record.text, "three");
  EXPECT_EQ(all[3].record.text, "f\nour");
  EXPECT_EQ(all[4].raw.line, 7u);
  EXPECT_THAT(std::string(all[4].status.message()), HasSubstr("text follows a closed quote"));
  EXPECT_EQ(all[5].record.text, "six");
}

// A row of nothing but separators takes no memory by the cell.
TEST_F(InputTest, CellsBeyondTheColumnsAreCountedAndNotKept) {
  InputOptions options;
  options.text_field = "text";
  const std::vector<Seen> all = ReadAll({Write("wide.csv", "text\n" + std::string(5000000, ',') + "\nlast\n")}, options);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_LE(all[0].raw.cells.size(), 1u);
  EXPECT_THAT(std::string(all[0].status.message()), HasSubstr("the row has 5000001 cells, and the first row names 1 columns"));
  EXPECT_EQ(all[1].record.text, "last");
  const std::vector<Seen> head = ReadAll({Write("head.csv", std::string(5000000, ',') + "\nlast\n")}, options);
  ASSERT_EQ(head.size(), 1u);
  EXPECT_TRUE(head[0].raw.ends_file);
  EXPECT_THAT(std::string(head[0].status.message()), HasSubstr("more than 16384 columns"));
}

TEST_F(InputTest, OtherEncodingsAreNamedAndNotGuessed) {
  using std::string_view_literals::operator""sv;
  InputOptions options;
  options.text_field = "text";
  for (const auto& [bytes, name] : {std::pair("\xFF\xFEh\0i\0"sv, "UTF-16"), std::pair("\xFE\xFF\0h\0i"sv, "UTF-16"), std::pair("\xFF\xFE\0\0h\0\0\0"sv, "UTF-32"), std::pair("\0\0\xFE\xFF\0\0\0h"sv, "UTF-32")}) {
    for (const char* file : {"a.txt", "a.jsonl", "a.csv"}) {
      const std::vector<Seen> all = ReadAll({Write(file, bytes)}, options);
      ASSERT_EQ(all.size(), 1u);
      EXPECT_TRUE(all[0].raw.ends_file);
      EXPECT_THAT(std::string(all[0].status.message()), HasSubstr(name));
    }
  }
  const std::vector<Seen> texts = ReadAll({Write("latin.txt", "gr\xFCn"), Write("wide.txt", "a\0b\0"sv), Write("cut.txt", "gr\xC3"), Write("good.txt", "gr\xC3\xBCn \xF0\x9F\x98\x80")}, options);
  EXPECT_THAT(std::string(texts[0].status.message()), HasSubstr("not UTF-8"));
  EXPECT_EQ(texts[0].record.error_byte, 2u);
  EXPECT_THAT(std::string(texts[1].status.message()), HasSubstr("NUL"));
  EXPECT_EQ(texts[1].record.error_byte, 1u);
  EXPECT_EQ(texts[2].record.error_byte, 2u);
  EXPECT_TRUE(texts[3].status.ok()) << texts[3].status;
  const std::vector<Seen> rows = ReadAll({Write("mixed.csv", "id,text\n1,gr\xC3\xBCn\n2,gr\xFCn\n3,a\0b\n\xFF,x\n"sv)}, options);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].record.text, "gr\xC3\xBCn");
  EXPECT_THAT(std::string(rows[1].status.message()), HasSubstr("'text': not UTF-8; convert it first, from Latin-1 for one: iconv -f ISO-8859-1 -t UTF-8 (byte 2 of the cell)"));
  EXPECT_THAT(std::string(rows[2].status.message()), HasSubstr("NUL"));
  EXPECT_TRUE(rows[3].status.ok());  // an id may be any bytes
}

// Against a decoder written another way: every string of up to three bytes, and the ends of the ranges of four.
TEST(Utf8Test, FaultsAreWhereADecoderSees) {
  const auto fault = [](std::string_view text) {
    size_t at = 0;
    while (at < text.size()) {
      const auto lead = static_cast<uint8_t>(text[at]);
      const int more = lead < 0x80 ? 0 : lead < 0xC0 ? -1 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : lead < 0xF8 ? 3 : -1;
      if (more < 0 || at + static_cast<size_t>(more) >= text.size()) return at;
      uint32_t code = more == 0 ? lead : lead & (0x3Fu >> more);
      for (int i = 1; i <= more; ++i) {
        const auto byte = static_cast<uint8_t>(text[at + static_cast<size_t>(i)]);
        if (byte >> 6 != 2) return at;
        code = code << 6 | (byte & 0x3Fu);
      }
      static constexpr uint32_t kLeast[4] = {1, 0x80, 0x800, 0x10000};
      if (code < kLeast[more] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return at;
      at += static_cast<size_t>(more) + 1;
    }
    return std::string_view::npos;
  };
  const auto check = [&](const std::string& text) { ASSERT_EQ(Utf8FaultAt(text), fault(text)); };
  for (uint32_t code = 0; code < 0x1000000; code += code < 0x20000 ? 1 : 61) {
    check({static_cast<char>(code), static_cast<char>(code >> 8), static_cast<char>(code >> 16)});
  }
  for (const int a : {0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xF8}) {
    for (int b = 0x7E; b < 0xC2; ++b) {
      for (const int c : {0x7F, 0x80, 0xBF, 0xC0}) {
        for (const int d : {0x7F, 0x80, 0xBF, 0xC0}) check({'a', static_cast<char>(a), static_cast<char>(b), static_cast<char>(c), static_cast<char>(d), 'z'});
      }
    }
  }
  for (size_t length = 0; length < 40; ++length) {
    check(std::string(length, 'a'));
    for (size_t at = 0; at < length; ++at) {
      for (const char bad : {'\0', '\x80', '\xFF'}) {
        std::string text(length, 'a');
        text[at] = bad;
        ASSERT_EQ(Utf8FaultAt(text), at);
      }
    }
  }
}

TEST_F(InputTest, IdsInCells) {
  const std::vector<Seen> all = ReadAll(
      {Write("a.tsv", "id\tids\n1\t1 2 3\n2\t[4, 5]\n3\t\n4\t6,7,\n5\t1 -2\n6\t1.5\n7\t[1\n8\t99999999999\n9\t1x\n")}, Ids());
  ASSERT_EQ(all.size(), 9u);
  EXPECT_THAT(all[0].record.ids, ElementsAre(1, 2, 3));
  EXPECT_THAT(all[1].record.ids, ElementsAre(4, 5));
  EXPECT_TRUE(all[2].record.ids.empty());
  EXPECT_THAT(all[3].record.ids, ElementsAre(6, 7));
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(all[i].status.ok()) << all[i].status;
  for (size_t i = 4; i < 9; ++i) EXPECT_FALSE(all[i].status.ok()) << i;
  EXPECT_THAT(std::string(all[4].status.message()), HasSubstr("position 1: '-2' is not a token id"));
}

TEST_F(InputTest, CompressedStreamsAreToldByTheirFirstBytes) {
  std::string lines;
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) lines += "{\"ids\":[" + std::to_string(random() % 50000) + "," + std::to_string(i) + "]}\n";
  const size_t half = lines.find('\n', lines.size() / 2) + 1;
  const std::string first = lines.substr(0, half), second = lines.substr(half);
  const std::vector<Seen> plain = ReadAll({Write("p.jsonl", lines)}, Ids());
  ASSERT_EQ(plain.size(), 20000u);
  // One stream, two streams one behind the other, and a name that says nothing.
  const std::string files[] = {Write("a.jsonl.gz", Gzip(lines)), Write("b.jsonl.gz", Gzip(first) + Gzip(second)), Write("c.jsonl.zst", Zstd(lines)),
                               Write("d.jsonl", Zstd(first) + Zstd(second)), Write("e", Gzip(lines)), Write("f.jsonl.gz", Gzip(lines) + std::string(512, '\0'))};
  for (const std::string& file : files) {
    const std::vector<Seen> all = ReadAll({file}, Ids());
    ASSERT_EQ(all.size(), plain.size()) << file;
    for (size_t i = 0; i < all.size(); ++i) {
      ASSERT_TRUE(all[i].status.ok()) << file << all[i].status;
      ASSERT_EQ(all[i].record.ids, plain[i].record.ids) << file << ": " << i;
      ASSERT_EQ(all[i].raw.byte, plain[i].raw.byte);
    }
  }
}

TEST_F(InputTest, ABrokenStreamGivesWhatCameBeforeAndSaysSo) {
  std::string lines;
  for (int i = 0; i < 20000; ++i) lines += "{\"ids\":[" + std::to_string(i * 7919 % 50021) + "]}\n";
  for (const std::string& whole : {Gzip(lines), Zstd(lines)}) {
    for (const std::string& broken : {whole.substr(0, whole.size() / 2), whole.substr(0, whole.size() - 1), whole + "rubbish"}) {
      const std::vector<Seen> all = ReadAll({Write("a.jsonl", broken)}, Ids());
      ASSERT_FALSE(all.empty());
      for (size_t i = 0; i + 1 < all.size(); ++i) ASSERT_TRUE(all[i].status.ok());
      EXPECT_FALSE(all.back().status.ok());
      EXPECT_TRUE(all.back().raw.ends_file);
    }
  }
}

TEST_F(InputTest, FormatsByNameAndByFirstCharacter) {
  InputOptions any;
  EXPECT_EQ(ReadAll({Write("a.txt", "{\"text\":\"x\"}\n{}")}, any).size(), 1u);
  const std::vector<Seen> sniffed = ReadAll({Write("unnamed", " {\"text\":\"x\"}\n{\"text\":\"y\"}\n")}, any);
  ASSERT_EQ(sniffed.size(), 2u);
  EXPECT_EQ(sniffed[1].record.text, "y");
  const std::string path = Write("prose", "It was a dark night.\nRain fell.\n");
  const std::vector<Seen> prose = ReadAll({path}, any);
  ASSERT_EQ(prose.size(), 1u);
  EXPECT_EQ(prose[0].record.text, "It was a dark night.\nRain fell.\n");
  EXPECT_EQ(prose[0].record.id, path);
}

TEST_F(InputTest, LongRecordsAreErrorsAndTheNextIsRead) {
  InputOptions options = Ids();
  options.max_record_bytes = 1000;
  const std::string padding(900000, ' ');
  const std::vector<Seen> all = ReadAll({Write("a.jsonl", "{\"ids\":[1]}\n{\"ids\":[2" + padding + "]}\n{\"ids\":[3]}\n")}, options);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_THAT(std::string(all[1].status.message()), HasSubstr("longer than 1000 bytes"));
  EXPECT_EQ(all[1].raw.line, 2u);
  EXPECT_THAT(all[2].record.ids, ElementsAre(3));
  EXPECT_EQ(all[2].raw.byte, 12 + 9 + padding.size() + 3);
  const std::vector<Seen> text = ReadAll({Write("a.txt", padding)}, options);
  ASSERT_EQ(text.size(), 1u);
  EXPECT_FALSE(text[0].status.ok());
  const std::vector<Seen> rows = ReadAll({Write("a.csv", "ids\n1\n\"" + padding + "\"\n3\n")}, options);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_FALSE(rows[1].status.ok());
  EXPECT_THAT(rows[2].record.ids, ElementsAre(3));
}

TEST_F(InputTest, FoldersEmptyFilesAndMissingOnes) {
  Write("d/b.jsonl", "{\"ids\":[2]}\n");
  Write("d/a/x.jsonl", "{\"ids\":[1]}\n");
  Write("d/.hidden", "x");
  std::filesystem::create_directories(dir_ + "/nothing");
  absl::StatusOr<std::vector<std::string>> files = ListInputs(std::vector<std::string>{dir_ + "/d"});
  ASSERT_TRUE(files.ok());
  EXPECT_THAT(*files, ElementsAre(dir_ + "/d/a/x.jsonl", dir_ + "/d/b.jsonl"));
  EXPECT_TRUE(absl::IsNotFound(ListInputs(std::vector<std::string>{dir_ + "/missing"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ListInputs(std::vector<std::string>{dir_ + "/nothing"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ListInputs(std::vector<std::string>{"-", "-"}).status()));
  EXPECT_FALSE(InputsAreCountable(std::vector<std::string>{"-"}));
  EXPECT_TRUE(InputsAreCountable(*files));

  const std::string empty = Write("empty.jsonl", "");
  const std::vector<Seen> all = ReadAll({empty, (*files)[0], dir_ + "/gone"}, Ids());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_THAT(std::string(all[0].status.message()), HasSubstr("empty"));
  EXPECT_TRUE(all[0].raw.ends_file);
  EXPECT_TRUE(all[1].status.ok());
  EXPECT_TRUE(absl::IsNotFound(all[2].status));
  EXPECT_EQ(*CountRecords(std::vector<std::string>{empty, (*files)[0]}, Ids()), 1u);
}

TEST_F(InputTest, HashIsOfTheBytesOnTheDisk) {
  InputOptions options = Ids();
  options.hash = true;
  // printf '{"ids":[1]}\n' | sha256sum
  InputReader reader({Write("a.jsonl", "{\"ids\":[1]}\n")}, options);
  RawRecord raw;
  while (reader.Next(&raw)) {
  }
  ASSERT_EQ(reader.files().size(), 1u);
  EXPECT_EQ(reader.files()[0].sha256, "d1db2da50b69623a54e5e9894bf67096d1c4b7223909aae588c802a285f31315");
  EXPECT_EQ(reader.files()[0].bytes, 12u);
  EXPECT_EQ(reader.files()[0].records, 1u);
}

// Whatever the bytes are, the reader ends, and its places never go back.
TEST_F(InputTest, AnyBytesAtAll) {
  std::mt19937 random(7);
  const char alphabet[] = "{}[]\",:\n\r\t 0123456789-.eidsx\\\xff\x00";
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    for (size_t n = random() % 400; n > 0; --n) bytes += alphabet[random() % (sizeof alphabet)];
    for (const InputFormat format : {InputFormat::kJsonl, InputFormat::kCsv, InputFormat::kText}) {
      InputOptions options = Ids();
      options.format = format;
      const std::vector<Seen> all = ReadAll({Write("any", bytes)}, options);
      uint64_t line = 0;
      for (const Seen& seen : all) {
        ASSERT_GE(seen.raw.line, line);
        line = seen.raw.line;
      }
    }
  }
}

}  // namespace
}  // namespace countermark
