#!/usr/bin/env python3
"""Writes cleaned.json beside itself: what Python's unicodedata says of NFKC, and honest texts of many scripts.

    build/venv/bin/python tests/vectors/make_cleaned.py

`nfkc`: pairs of a random string without characters that the view removes and without words of mixed script, and its NFKC. `honest`: texts of people, each with
its NFKC; where the two are equal the view must change nothing. `ill_formed`: bytes (hex) and what Python's errors="replace" reads.
"""
import json
import pathlib
import random
import unicodedata

HERE = pathlib.Path(__file__).parent

HONEST = {
    "English": "The quick brown fox jumps over the lazy dog; it's naïve, isn't it? 3.5 GHz, 20 °C, 50 %.",
    "German": "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Übergrößenträger",
    "French": "Dès Noël, où un zéphyr haï me vêt de glaçons würmiens, je dîne d’exquis rôtis de bœuf.",
    "Turkish": "Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul’da ılık bir ağustos.",
    "Vietnamese": "Con sói nâu nhảy qua con chó lười biếng. Nguyễn Trãi viết bình Ngô đại cáo.",
    "Russian": "Съешь же ещё этих мягких французских булок, да выпей чаю. USB-кабель и 3D-модель по HTTP.",
    "Ukrainian": "Жебракують філософи при ґанку церкви в Гадячі, ще й шатро їхнє п'яне знаємо.",
    "Serbian": "Љубазни фењерџија чађавог лица хоће да ми покаже штос.",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ταχίστη αλώπηξ βαφής ψημένη γη.",
    "Armenian": "Բել դղյակի ձախ ժամն օֆ ազգությանը ցպահանջ չճշտած վնաս էր եւ փառք։",
    "Georgian": "გთხოვთ ახლავე გაიაროთ რეგისტრაცია საერთაშორისო კონფერენციაზე დასასწრებად.",
    "Hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא לו חברה. שָׁלוֹם עֲלֵיכֶם",
    "Arabic": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق. السَّلامُ عَلَيْكُم",
    "Persian": "می‌خواهم به خانه‌ی دوست‌هایم بروم؛ کتاب‌ها را نمی‌خوانند. آزاد‌ی ه‍ ج",
    "Urdu": "ٹھنڈ میں، ایک قحط زدہ گاؤں سے گذرتے وقت ایک چڑچڑے، باأثر و فارغ شخص کو بعض جل پری نما اشیاء نظر آئیں۔",
    "Hindi": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले विष्णुवतार। क्‍ष क्‌ष",
    "Bengali": "আমার সোনার বাংলা, আমি তোমায় ভালোবাসি। র‍্যাব র‍্যাম",
    "Tamil": "யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது எங்கும் காணோம்.",
    "Telugu": "ప్రపంచంలోని ప్రతి మనిషికి హక్కులు సమానం. ఫ్‌ల",
    "Malayalam": "അജവും ആനയും ഐരാവതവും ഗരുഡനും കഠോര സ്വരം പൊഴിക്കെ. നന്‍മ അവന്‍",
    "Sinhala": "සියලු මනුෂ්‍යයෝ නිදහස්ව උපත ලබා ඇත. ශ්‍රී ලංකා ක්‍රමය",
    "Thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน",
    "Lao": "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ ສິດທິ ເສລີພາບ",
    "Khmer": "មនុស្ស​ទាំង​អស់​កើត​មក​មាន​សេរីភាព និង​ភាព​ស្មើ​គ្នា",
    "Burmese": "လူတိုင်းသည် တူညီ​လွတ်လပ်​သော ဂုဏ်သိက္ခာဖြင့် မွေးဖွားလာ​သည်။",
    "Tibetan": "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས།",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ᠌ ᠴᠠᠭᠠᠠᠨ ᠰᠠᠷ᠎ᠠ",
    "Chinese": "我能吞下玻璃而不伤身体。天地玄黄宇宙洪荒日月盈昃辰宿列張",
    "Japanese": "いろはにほへとちりぬるを。口コミ、エロ本、Tシャツ、Wi-Fiルーター、ロシア語の二重ニ、へヘ。",
    "Korean": "다람쥐 헌 쳇바퀴에 타고파. 키스의 고유조건은 입술끼리 만나야 하고",
    "Amharic": "ሰማይ አይታረስ ንጉሥ አይከሰስ። ብላ ካለኝ እንደአባቴ በቆመጠኝ።",
    "Cherokee": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎤᏬᏥᏅᎯ",
    "Emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 ❤️ ☎︎ 1️⃣ #️⃣ 👍🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿 👩🏽‍🚀 🇩🇪 ⚕️",
    "Physics": "ρgh and σT, kΩ, μm, αx + βy = γ, Δv, 10 kΩ, ν·λ = c, F = qE; ρV, τD, νe",
    "Code": "int main() { return 0; }  // x₀ is not here; λ = lambda x: x + 1\n\tприветWorld = {'ключ': value}\r\n",
}


def pool():
    """Characters that Python's Unicode knows, that the view does not remove, of one script a draw or common."""
    removed = {0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0, *range(0x180B, 0x1810), *range(0x200B, 0x2010), *range(0x202A, 0x202F),
               *range(0x2060, 0x2070), *range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFFC), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)}
    letters, others = [], []
    for code_point in range(0x20, 0x110000):
        c = chr(code_point)
        category = unicodedata.category(c)
        if code_point in removed or category in ("Cn", "Cs", "Co"):
            continue
        (letters if category[0] == "L" else others).append(c)
    return letters, others


def main():
    random.seed(5)
    letters, others = pool()
    marks = [c for c in others if unicodedata.combining(c)]
    changing = [c for c in letters + others if unicodedata.normalize("NFKC", c) != c]
    nfkc = []
    for i in range(3000):
        # At most one letter between others that are no letters, so that no word is of two scripts. Ligatures give several letters of one script.
        parts = []
        for _ in range(random.randrange(1, 12)):
            parts.append(random.choice((letters, changing, others, others)[random.randrange(4)]))
            parts += [random.choice(marks) for _ in range(random.choice((0, 0, 1, 2, 5)))]
            parts.append(random.choice("  .,-0\n"))
        text = "".join(parts)
        nfkc.append([text, unicodedata.normalize("NFKC", text)])
    for c in random.sample(changing, 1500):
        nfkc.append([f"x {c} y", unicodedata.normalize("NFKC", f"x {c} y")])
    for i in range(300):  # Hangul, from conjoining letters and compatibility ones
        text = "".join(chr(random.choice((random.randrange(0x1100, 0x1113), random.randrange(0x1161, 0x1176), random.randrange(0x11A8, 0x11C3), random.randrange(0x3131, 0x3164),
                                          random.randrange(0xAC00, 0xD7A4)))) for _ in range(20))
        nfkc.append([text, unicodedata.normalize("NFKC", text)])
    ill_formed = []
    for i in range(500):
        raw = bytearray(" aé中😀б".encode() * 2)
        for _ in range(random.randrange(1, 6)):
            at = random.randrange(len(raw))
            if random.random() < 0.5:
                raw[at] = random.choice((0x80, 0xC0, 0xC3, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xFF, 0xA0, 0x9F))
            else:
                del raw[at]
        ill_formed.append([raw.hex(), raw.decode("utf-8", errors="replace")])
    out = {"comment": "made by make_cleaned.py, Unicode " + unicodedata.unidata_version, "nfkc": nfkc, "ill_formed": ill_formed,
           "honest": [[name, text, unicodedata.normalize("NFKC", text)] for name, text in HONEST.items()]}
    with open(HERE / "cleaned.json", "w", encoding="ascii") as file:
        json.dump(out, file, indent=0)
        file.write("\n")


if __name__ == "__main__":
    main()
