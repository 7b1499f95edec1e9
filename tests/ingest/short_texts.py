"""Short texts in twenty languages, in the encodings that are usual for them."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

# ruff: noqa: RUF001, E501 - letters that look alike, and long texts, are what this is about
WEST, CENTRAL = ("cp1252", "iso8859-15", "mac-roman", "cp850"), ("cp1250", "iso8859-2", "cp852")
CYRILLIC = ("cp1251", "koi8-r", "cp866", "iso8859-5")
SENTENCES = {
    "fr": (
        WEST,
        "Très bon produit, livré à l'heure et bien emballé. La qualité m'a déçue après "
        "quelques semaines. Le vendeur n'a pas répondu à mes messages, c'est gênant. Je le conseille à "
        "ma mère et à mes frères. Reçu cassé, remboursé sans problème où je l'ai acheté.",
    ),
    "de": (
        WEST,
        "Die Lieferung war schnell, aber die Schuhe fallen zu groß aus. Für den Preis völlig "
        "in Ordnung. Das Gerät läuft leise und hält länger als erwartet. Leider fehlte ein Schlüssel, "
        "der Händler hat ihn nachgeschickt. Würde ich jederzeit wieder kaufen, schönes Geschenk.",
    ),
    "es": (
        WEST,
        "El envío llegó rápido y sin daños. La talla es más pequeña de lo que decía la "
        "página. Mi niño está encantado con el juguete. No funcionó después de un año. ¿Por qué no hay "
        "instrucciones en español? Muy buena atención, volveré a comprar aquí mañana.",
    ),
    "pt": (
        WEST,
        "Chegou antes do prazo e em ótimas condições. Não gostei da cor, é muito diferente "
        "da fotografia. A bateria dura três dias, uma exceção nesta faixa de preço. Atenção ao tamanho. "
        "O vendedor não respondeu às minhas mensagens. Recomendo a todos, é uma boa opção.",
    ),
    "sv": (
        WEST,
        "Snabb leverans och bra kvalitet på varan. Skorna var för små så jag fick skicka "
        "tillbaka dem. Mycket nöjd, köper gärna här igen. Väskan går sönder efter några månader. "
        "Färgen stämmer inte överens med bilden. Trevligt bemötande när jag ringde.",
    ),
    "da": (
        WEST,
        "Hurtig levering og god kvalitet på varen. Skoene var for små, så jeg måtte sende "
        "dem tilbage. Meget tilfreds, køber gerne her igen. Tasken gik i stykker efter få måneder. "
        "Farven svarer ikke til billedet på siden. Rart at få hjælp, når man ringer på en søndag.",
    ),
    "fi": (
        WEST,
        "Nopea toimitus ja hyvä laatu. Kengät olivat liian pienet, joten jouduin "
        "palauttamaan ne. Erittäin tyytyväinen, ostan täältä mielelläni uudestaan. Laukku hajosi "
        "muutaman kuukauden jälkeen. Väri ei ole sama kuin kuvassa. Ystävällinen palvelu myymälässä.",
    ),
    "pl": (
        CENTRAL,
        "Szybka dostawa i świetna jakość. Buty okazały się za małe, musiałem je odesłać. "
        "Jestem bardzo zadowolona, chętnie kupię tu ponownie. Torba rozpadła się po kilku miesiącach. "
        "Kolor różni się od zdjęcia. Miła obsługa, gdy zadzwoniłem w niedzielę, dziękuję.",
    ),
    "cs": (
        CENTRAL,
        "Rychlé dodání a skvělá kvalita. Boty byly příliš malé, musel jsem je vrátit. Jsem "
        "velmi spokojená, ráda zde nakoupím znovu. Taška se po několika měsících rozpadla. Barva "
        "neodpovídá obrázku na stránce. Příjemná obsluha, když jsem zavolal v neděli večer.",
    ),
    "hu": (
        CENTRAL,
        "Gyors szállítás és kiváló minőség. A cipő túl kicsi volt, vissza kellett küldenem. "
        "Nagyon elégedett vagyok, szívesen vásárolok itt újra. A táska néhány hónap után tönkrement. A "
        "szín eltér a képtől. Kedves ügyfélszolgálat, amikor vasárnap este felhívtam őket.",
    ),
    "ro": (
        ("cp1250", "iso8859-2"),
        "Livrare rapidă şi calitate foarte bună. Pantofii au fost prea mici, "
        "aşa că i-am trimis înapoi. Sunt foarte mulţumită, mai cumpăr de aici. Geanta s-a stricat după "
        "câteva luni. Culoarea nu este ca în fotografie. Mulţumesc pentru răspunsul primit duminică.",
    ),
    "ru": (
        (*CYRILLIC, "mac-cyrillic"),
        "Быстрая доставка и отличное качество. Ботинки оказались малы, "
        "пришлось вернуть. Очень довольна, буду покупать ещё. Сумка порвалась через несколько месяцев. "
        "Цвет не такой, как на фотографии. Вежливо ответили, когда я позвонил в воскресенье.",
    ),
    "uk": (
        ("cp1251", "koi8-u"),
        "Швидка доставка і чудова якість. Черевики виявилися замалі, довелося "
        "повернути. Дуже задоволена, купуватиму ще. Сумка порвалася за кілька місяців. Колір не такий, "
        "як на світлині. Ввічливо відповіли, коли я подзвонив у неділю ввечері, дякую їм.",
    ),
    "bg": (
        ("cp1251", "iso8859-5"),
        "Бърза доставка и отлично качество. Обувките се оказаха малки и "
        "трябваше да ги върна. Много съм доволна, ще купувам пак оттук. Чантата се скъса след няколко "
        "месеца. Цветът не е като на снимката. Любезно обслужване, когато се обадих в неделя.",
    ),
    "el": (
        ("cp1253", "iso8859-7", "cp737"),
        "Γρήγορη παράδοση και πολύ καλή ποιότητα. Τα παπούτσια ήταν "
        "μικρά και τα επέστρεψα. Είμαι πολύ ευχαριστημένη, θα ξαναγοράσω από εδώ. Η τσάντα χάλασε μετά "
        "από λίγους μήνες. Το χρώμα δεν είναι όπως στη φωτογραφία. Άψογη εξυπηρέτηση την Κυριακή.",
    ),
    "tr": (
        ("cp1254", "cp857"),
        "Hızlı teslimat ve çok iyi kalite. Ayakkabılar küçük geldi, geri göndermek "
        "zorunda kaldım. Çok memnunum, yine buradan alışveriş yapacağım. Çanta birkaç ay sonra "
        "yırtıldı. Rengi fotoğraftaki gibi değil. Pazar günü aradığımda güler yüzle cevap verdiler.",
    ),
    "he": (
        ("cp1255", "cp862"),
        "משלוח מהיר ואיכות מצוינת. הנעליים היו קטנות מדי ונאלצתי להחזיר אותן. אני "
        "מאוד מרוצה ואקנה כאן שוב. התיק נקרע אחרי כמה חודשים. הצבע שונה מהתמונה באתר. שירות אדיב "
        "כשהתקשרתי ביום ראשון בערב.",
    ),
    "ar": (
        ("cp1256", "iso8859-6"),
        "توصيل سريع وجودة ممتازة. كان الحذاء صغيرا جدا واضطررت إلى إعادته. أنا "
        "راضية جدا وسأشتري من هنا مرة أخرى. تمزقت الحقيبة بعد بضعة أشهر. اللون ليس كما في الصورة. خدمة "
        "لطيفة عندما اتصلت يوم الأحد مساء.",
    ),
    "th": (
        ("cp874",),
        "จัดส่งเร็วและ คุณภาพดีมาก รองเท้าเล็กเกินไป เลยต้องส่งคืน พอใจมาก จะซื้อที่นี่อีก "
        "กระเป๋าขาดหลังจาก ใช้ไม่กี่เดือน สีไม่เหมือนในรูป พนักงานพูดจาดี ตอนที่โทรไป วันอาทิตย์",
    ),
    "vi": (
        ("cp1258",),
        "Giao hàng nhanh và chất lượng rất tốt. Giày quá nhỏ nên tôi phải trả lại. Tôi rất "
        "hài lòng, sẽ mua ở đây lần nữa. Túi bị rách sau vài tháng. Màu sắc không giống như trong ảnh. "
        "Nhân viên trả lời lịch sự khi tôi gọi vào chủ nhật.",
    ),
    "lt": (
        ("cp1257", "iso8859-13"),
        "Greitas pristatymas ir puiki kokybė. Batai buvo per maži, todėl turėjau "
        "juos grąžinti. Esu labai patenkinta, pirksiu čia dar kartą. Krepšys suplyšo po kelių mėnesių. "
        "Spalva ne tokia kaip nuotraukoje. Mandagiai atsakė, kai paskambinau sekmadienį.",
    ),
    "zh": (
        ("gb18030",),
        "发货很快，质量非常好。 鞋子太小了，只好退货。 我很满意，下次还会再买。 包用了几个月就坏了。 "
        "颜色和图片不一样。 星期天打电话，客服态度也很好。 价格便宜，推荐给大家。",
    ),
    "zh-tw": (
        ("big5hkscs",),
        "出貨很快，品質非常好。 鞋子太小了，只好退貨。 我很滿意，下次還會再買。 包包用了幾個月就壞了。 "
        "顏色和圖片不一樣。 星期天打電話，客服態度也很好。 價格便宜，推薦給大家。",
    ),
    "ja": (
        ("cp932", "euc-jp"),
        "発送が早くて、品質もとても良いです。 靴が小さすぎたので返品しました。 大変満足しています。 "
        "また買いたいと思います。 鞄は数か月で破れました。 写真と色が違います。 日曜日の電話でも親切でした。",
    ),
    "ko": (
        ("cp949",),
        "배송이 빠르고 품질이 아주 좋습니다. 신발이 너무 작아서 반품했어요. 정말 만족하고 다음에도 여기서 살 "
        "거예요. 가방은 몇 달 만에 찢어졌습니다. 사진과 색이 다릅니다. 일요일에 전화했는데 친절했어요.",
    ),
}


class ShortText(NamedTuple):
    language: str
    encoding: str
    text: str
    raw: bytes


def short_texts(lines_at_most: int = 20) -> Iterator[ShortText]:
    """Tables of 5 to 20 rows with a few words each, five per language and encoding."""
    chance = random.Random(5)
    for language, (encodings, text) in SENTENCES.items():
        for encoding in encodings:
            words = _encodable(text, encoding).split()
            for _ in range(5):
                rows = [
                    f"{number};{' '.join(_some(words, chance))}"
                    for number in range(chance.randint(5, lines_at_most))
                ]
                table = "\n".join(["id;text", *rows, ""])
                yield ShortText(language, encoding, table, table.encode(encoding))


def _some(words: list[str], chance: random.Random) -> list[str]:
    begin = chance.randrange(len(words))
    return words[begin : begin + chance.randint(2, 6)]


def _encodable(text: str, encoding: str) -> str:
    """Vietnamese of Windows has the tones as characters of their own."""
    if encoding != "cp1258":
        return text
    found = ""
    for char in text:
        try:
            char.encode(encoding)
            found += char
        except UnicodeEncodeError:
            whole = unicodedata.normalize("NFD", char)
            tone = next(mark for mark in whole if mark in "\u0300\u0301\u0303\u0309\u0323")
            found += unicodedata.normalize("NFC", whole.replace(tone, "")) + tone
    return found
