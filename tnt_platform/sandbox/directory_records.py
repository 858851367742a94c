"""Generate a mall directory in English, Thai and some Chinese, with the flaws of real ones, and its next month.

The same random source gives the same records.
"""

from __future__ import annotations

import datetime as dt
import html
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

Record = dict[str, object]

FIELDS: Final = (
    *("uniqueId", "tenantId", "brandNameEn", "brandNameTh", "shopNameEnglish", "shopNameThai", "status"),
    *("categoryNameEn", "categoryNameTh", "subCategoryEn", "subCategoryTh", "zone", "floor", "floorRevised"),
    *("openingHours", "unit", "tel", "website", "descriptionEn", "descriptionTh", "logo"),
    *(f"gallery_{number}" for number in range(1, 5)),
    *("startDate", "endDate", "tenantLastUpdate", "mallLastUpdate"),
    *(f"attribute{number}" for number in range(1, 40)),
)
LAST_DAY: Final = dt.datetime(2026, 10, 31, 9, 30, tzinfo=dt.UTC)

# English, Thai and Chinese name.
SHOPS: Final = (
    ("Naraya & Friends", "นารายาแอนด์เฟรนด์", "娜莱雅"),
    ("Jim's Silk", "จิมส์ซิลค์", ""),
    ("Boutique Chérie", "บูติก เชอรี", ""),
    ("Lotus Books & Stationery", "โลตัสบุ๊คส์", ""),
    ("Golden Crane Jewelry", "เครื่องประดับกระเรียนทอง", "金鹤珠宝"),
    ("Optic 21", "ออพติก 21", ""),
    ("Siam Sport House", "สยามสปอร์ตเฮาส์", ""),
    ("Baan Mai Living", "บ้านใหม่ลิฟวิ่ง", ""),
    ("Kid O'Clock", "คิดโอคล็อก", ""),
    ("Power Phone", "พาวเวอร์โฟน", "能量手机"),
    ("Ratchada Bank", "ธนาคารรัชดา", ""),
    ("Herb & Spa by Malee", "เฮิร์บแอนด์สปา บาย มาลี", ""),
)
PLACES_TO_EAT: Final = (
    ("Café Doi Chang", "คาเฟ่ ดอยช้าง", ""),
    ("Golden Dragon 金龙", "มังกรทอง", "金龙餐厅"),
    ("Som Tam & More", "ส้มตำแอนด์มอร์", ""),
    ("Mango Mama's", "แมงโก้มาม่า", "芒果妈妈"),
    ("Sushi Hana", "ซูชิ ฮานะ", "花寿司"),
    ("Crème Brûlée Bar", "แครมบรูเล่ บาร์", ""),
    ("Boat Noodle 99", "ก๋วยเตี๋ยวเรือ 99", ""),
    ("Tea House & Toast", "ทีเฮาส์แอนด์โทสต์", ""),
)
SUFFIXES: Final = ("", "", "", " Express", " Outlet", " Junior", " by Siam", " II")
SHOP_CATEGORIES: Final = (
    ("Fashion", "แฟชั่น"),
    ("Shoes & Bags", "รองเท้าและกระเป๋า"),
    ("Beauty", "ความงาม"),
    ("Jewelry & Watches", "เครื่องประดับและนาฬิกา"),
    ("Electronics & IT", "อิเล็กทรอนิกส์และไอที"),
    ("Home & Living", "บ้านและของตกแต่ง"),
    ("Books & Stationery", "หนังสือและเครื่องเขียน"),
    ("Bank & Finance", "ธนาคารและการเงิน"),
)
DINING_CATEGORIES: Final = (
    ("Food & Beverage", "อาหารและเครื่องดื่ม"),
    ("Restaurant", "ร้านอาหาร"),
    ("Cafe", "คาเฟ่"),
    ("Take Home", "ซื้อกลับบ้าน"),
)
ZONES: Final = ("Atrium", "Beacon", "Central Court", "Dazzle", "Eden")
FLOORS: Final = ("B1", "GF", "UG", "MF", "1F", "2F", "3F", "4F", "5F", "6F", "7F", "8F")
ODD_FLOORS: Final = ("Fl. G", "ground floor", "BM1", "7A", "7,8", "ชั้น 3", "unknown", "Skywalk")
HOURS: Final = (
    *("10.00 - 22.00", "10.00 - 22.00", "10:00-21:30", "09.00 - 20.00", "18.00 - 02.00"),
    *("Mon-Fri 10.00-21.00, Sat-Sun 10.00-22.00", "11.00-14.00, 17.00-22.00", "ทุกวัน 10.00 - 22.00 น."),
)
PROSE_HOURS: Final = (
    "Please ask at the counter, we open when the mall does",
    "From lunch until the last guest has gone home",
    "เปิดตามเวลาห้าง ยกเว้นวันพระ",
)
DINING_NAMES: Final = frozenset(name for name, _ in DINING_CATEGORIES)
# Shares of the directory that change within a month; at least one record of each.
CLOSED, MOVED, RENAMED, RESCHEDULED, OPENED = 0.03, 0.01, 0.01, 0.02, 0.03


def directory_records(count: int, random: Random, *, dirt: float = 0.1) -> list[Record]:
    """Generate `count` records with all FIELDS; the share `dirt` of them has one of the flaws in DIRT."""
    records = []
    kinds = list(DIRT.values())
    for number in range(1, count + 1):
        record = _record(number, random)
        if random.random() < dirt:
            random.choice(kinds)(record, random)
        records.append(record)
    return records


def sample_mall() -> list[Record]:
    """Return the mall of the demo and of `tnt dev`: always the same 400 records."""
    return directory_records(400, Random(11))


def next_month(records: Sequence[Record], random: Random) -> list[Record]:
    """Return the directory a month later: tenants opened, closed, changed kind, name or opening hours.

    Only records with both ids and an English name change; `records` stay as they are.
    """
    later = [dict(record) for record in records]
    usable = [index for index, record in enumerate(later) if _is_plain(record)]
    random.shuffle(usable)
    shops = [index for index in usable if later[index]["categoryNameEn"] not in DINING_NAMES]
    moved = _taken(shops, MOVED * len(later))
    others = [index for index in usable if index not in set(moved)]
    renamed = _taken(others, RENAMED * len(later))
    rescheduled = _taken(others, RESCHEDULED * len(later))
    closed = set(_taken(others, CLOSED * len(later)))
    for index in moved:
        later[index] |= _category(DINING_CATEGORIES, random)
    for index in renamed:
        later[index]["shopNameEnglish"] = f"New {later[index]['shopNameEnglish']}"
    for index in rescheduled:
        known = later[index]["openingHours"]
        later[index]["openingHours"] = random.choice([hours for hours in HOURS if hours != known])
    for index in (*moved, *renamed, *rescheduled):
        later[index]["tenantLastUpdate"] = _moment(LAST_DAY + dt.timedelta(days=random.randint(1, 30)))
    open_still = [record for index, record in enumerate(later) if index not in closed]
    number = _highest_number(records)
    for opened in range(1, max(1, round(OPENED * len(records))) + 1):
        open_still.insert(random.randint(0, len(open_still)), _record(number + opened, random))
    return open_still


def _record(number: int, random: Random) -> Record:
    eats = random.random() < 0.4
    names = random.choice(PLACES_TO_EAT if eats else SHOPS)
    suffix = random.choice(SUFFIXES)
    floor = random.choice(FLOORS)
    site = f"https://www.example.com/{number}"
    opened = LAST_DAY - dt.timedelta(days=random.randint(30, 3_000))
    record: Record = dict.fromkeys(FIELDS, "") | {
        "uniqueId": f"MD-{number:07d}",
        "tenantId": f"T{number:07d}",
        "brandNameEn": names[0],
        "brandNameTh": names[1],
        "shopNameEnglish": names[0] + suffix,
        "shopNameThai": names[1],
        "status": random.random() < 0.95,
        **_category(DINING_CATEGORIES if eats else SHOP_CATEGORIES, random),
        "zone": random.choice(ZONES),
        "floor": floor,
        "floorRevised": floor if random.random() < 0.3 else "",
        "openingHours": random.choice(HOURS),
        "unit": f"{floor}-{random.randint(100, 399)}",
        "tel": f"02-{random.randint(100, 999)}-{random.randint(1000, 9999)}",
        "website": site if random.random() < 0.6 else "",
        "descriptionEn": f"{names[0]}: food & drinks"
        if eats
        else f"{names[0]}: the best of <Bangkok> & Asia",
        "descriptionTh": f"ร้าน {names[1]} ยินดีต้อนรับ",
        "logo": f"{site}/logo.png",
        "startDate": f"{opened:%Y-%m-%d}",
        "endDate": f"{LAST_DAY + dt.timedelta(days=random.randint(60, 900)):%Y-%m-%d}",
        "tenantLastUpdate": _moment(LAST_DAY - dt.timedelta(minutes=random.randint(0, 40_000))),
        "mallLastUpdate": _moment(LAST_DAY),
        "attribute1": random.choice(("", "VISA,MASTER", "VISA,MASTER,JCB")),
        "attribute7": names[2],
    }
    record |= {f"gallery_{at}": f"{site}/{at}.jpg" for at in range(1, random.randint(1, 5))}
    # The real API has no field for Chinese; malls that add one call it this.
    return record | {"shopNameChinese": names[2]} if names[2] else record


def _category(categories: Sequence[tuple[str, str]], random: Random) -> Record:
    english, thai = random.choice(categories)
    return {
        "categoryNameEn": english,
        "categoryNameTh": thai,
        "subCategoryEn": f"{english} (all)",
        "subCategoryTh": thai,
    }


def _encode(record: Record, random: Random) -> None:
    """Encode HTML entities one to three times."""
    times = random.randint(1, 3)
    for name in ("brandNameEn", "shopNameEnglish", "categoryNameEn", "descriptionEn"):
        text = html.escape(str(record[name])).replace("é", "&eacute;").replace("û", "&#251;")
        for _ in range(times - 1):
            text = html.escape(text)
        record[name] = text


def _escape(record: Record, random: Random) -> None:
    """Put JSON escapes into the text."""
    for name in ("brandNameTh", "shopNameThai", "descriptionTh"):
        record[name] = json.dumps(record[name])[1:-1]


def _mark_up(record: Record, random: Random) -> None:
    tag = random.choice(("b", "p", "span"))
    record["categoryNameEn"] = f"<{tag}>{html.escape(str(record['categoryNameEn']))}</{tag}>"


def _misplace(record: Record, random: Random) -> None:
    record["floorRevised"] = ""
    record["floor"] = random.choice(ODD_FLOORS)


def _tell_hours(record: Record, random: Random) -> None:
    record["openingHours"] = random.choice(PROSE_HOURS)


def _lose_id(record: Record, random: Random) -> None:
    name = random.choice(("uniqueId", "tenantId"))
    lost = random.choice(("", None, "absent"))
    if lost == "absent":
        del record[name]
    else:
        record[name] = lost


def _lose_names(record: Record, random: Random) -> None:
    record |= dict.fromkeys(("brandNameEn", "brandNameTh", "shopNameEnglish", "shopNameThai"), "")
    record.pop("shopNameChinese", None)


def _count(record: Record, random: Random) -> None:
    """Put numbers where strings belong."""
    record |= {"unit": random.randint(100, 399), "tel": random.randint(20_000_000, 29_999_999)}


DIRT: Final[dict[str, Callable[[Record, Random], None]]] = {
    "entities": _encode,
    "escapes": _escape,
    "markup": _mark_up,
    "odd_floor": _misplace,
    "prose_hours": _tell_hours,
    "missing_id": _lose_id,
    "no_name": _lose_names,
    "numbers": _count,
}


def _is_plain(record: Record) -> bool:
    return all(record.get(name) for name in ("uniqueId", "tenantId", "shopNameEnglish"))


def _taken(indexes: list[int], count: float) -> list[int]:
    """Remove and return some of `indexes`, at least one if there is any."""
    size = max(1, round(count))
    taken, indexes[:] = indexes[:size], indexes[size:]
    return taken


def _highest_number(records: Sequence[Record]) -> int:
    ids = (str(record.get(name) or "0") for record in records for name in ("uniqueId", "tenantId"))
    return max((int(text.lstrip("MDT-") or 0) for text in ids), default=0)


def _moment(when: dt.datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}"
