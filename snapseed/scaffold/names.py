"""What names say: how they split into words, what kind of table they suggest, and what columns of a name hold.

The lists below are data. To teach `init` a new name, add a line to `HINTS`.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Collection, Iterator

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_MODIFIED = re.compile(r"(?P<head>timestamp|time)(?P<modifier>\(\d+\))? (?P<zone>with|without) time zone(?P<array>.*)")
_SHORT_TYPES = {"character varying": "varchar", "character": "char"}
# What every generated module imports or defines.
_TAKEN = {"rows", "pl", "entity", "fan_out", "exactly", "scale", "timedelta", "datetime", "words", "number"}


def words_of(name: str) -> str:
    """A name in lower case with `_` between its words: `OrderDetails` and `Order Details` give `order_details`."""
    return _OTHER.sub("_", _CAMEL.sub("_", name).lower()).strip("_")


def singular(word: str) -> str:
    """The singular of an English word, close enough to compare names."""
    for plural, single in (("ies", "y"), ("sses", "ss"), ("ses", "s"), ("xes", "x"), ("ches", "ch"), ("s", "")):
        if word.endswith(plural) and len(word) > len(plural) + 1 and not word.endswith("ss"):
            return word.removesuffix(plural) + single
    return word


def identifier(name: str, taken: Collection[str] = ()) -> str:
    """A Python identifier for a name: not a keyword, not a builtin, nothing that a module imports, and not taken."""
    base = words_of(name) or "table"
    base = f"t_{base}" if base[0].isdigit() else base
    base = f"{base}_" if keyword.iskeyword(base) or hasattr(builtins, base) or base in _TAKEN else base
    base, found, number = base[:50], base[:50], 2
    while found in taken:
        found, number = f"{base}_{number}", number + 1
    return found


def short_type(name: str) -> str:
    """A type of `format_type` as people write it: `timestamptz`, `varchar(40)`, `numeric(10,2)`."""
    match = _MODIFIED.fullmatch(name)
    if match:
        zone = "tz" if match["zone"] == "with" else ""
        return f"{match['head']}{zone}{match['modifier'] or ''}{match['array']}"
    for long, short in _SHORT_TYPES.items():
        if re.match(rf"{long}(?=$|\(|\[)", name):
            return name.replace(long, short, 1)
    return name


def suggests(role: str, name: str) -> bool:
    """Whether a table or column of this name has a role of `ROLES`."""
    return re.search(ROLES[role], f"_{words_of(name)}_") is not None


def hints(family: str, name: str) -> Iterator[str]:
    """The templates for a column of this name, the best first: see `HINTS`."""
    for of, pattern, template in HINTS:
        if of == family and re.search(pattern, f"_{words_of(name)}_"):
            yield template


# Patterns below are searched in a name with `_` around and between its words: `_order_status_`.
ROLES: dict[str, str] = {
    # Tables with a handful of rows that others choose from.
    "lookup": (
        "_(?:categor(?:y|ie)|class|colou?r|countr(?:y|ie)|currenc(?:y|ie)|demographic|department|genre|kind|language|"
        "level|locale|method|mode|permission|plan|priorit(?:y|ie)|region|role|severity|shipper|size|state|status|tier|"
        "timezone|topic|type|unit)s?(?:es)?_$"
    ),
    # Tables with many rows that own those of others.
    "people": "_(?:account|author|client|customer|guest|member|owner|patient|person|player|student|user)",
    # Tables with few rows compared with those.
    "few": (
        "_(?:branch|brand|compan(?:y|ie)|employee|facilit(?:y|ie)|hotel|manufacturer|office|organi[sz]ation|publisher|"
        "restaurant|school|seller|shop|site|staff|store|supplier|team|tenant|vendor|venue|warehouse|workspace)"
    ),
    # Tables whose column `name` holds the name of a person.
    "named person": "person|people|customer|user|author|actor|artist|employee|player|member",
    # Columns that are often NULL. All others always have a value, which keeps the modules short.
    "optional": (
        "_(?:middle|nick|suffix|company|website|homepage|bio|fax|region|state|notes?|comments?|remarks?|description|"
        "deleted|cancel[a-z]*|archived|parent|alt[a-z]*|secondary|second|optional|extra|metadata|caption)|"
        "(?:address|line|street)_?2"
    ),
    # Columns with the names of people, which others are made of.
    "person": "first_?name|last_?name|surname",
    "birth": "_(?:birth|born|dob)",
    "future": "_(?:expir|due|valid_(?:to|until)|renew|scheduled|deadline)",
    # Moments that come after others of the same row.
    "later": (
        "_(?:accepted|answered|approved|archived|arriv[a-z]*|cancel[a-z]*|changed|clos[a-z]*|complet[a-z]*|confirmed|"
        "deleted|deliver[a-z]*|departed|due|end[a-z]*|expir[a-z]*|finish[a-z]*|last|left|modified|paid|processed|"
        "publish[a-z]*|read|received|refund[a-z]*|reject[a-z]*|released|removed|requir[a-z]*|resolv[a-z]*|respon[a-z]*|"
        "return[a-z]*|seen|sent|ship[a-z]*|stop[a-z]*|termin[a-z]*|to|until|updat[a-z]*|verified|finali[sz]ed)_"
    ),
    # The moment since which a row exists.
    "beginning": "creat|regist|sign|open|join",
    "code": "_(?:code|slug|key|iso|abbr)",
    "label": "_(?:name|title|label|description|desc)_$",
    "counted from one": "line|number|no_$|rank",
}

# What a column holds: the family of its type, a pattern for its name, a template. The best comes first.
# text: `{LIST}` is a word of that list, `{1-250}` a number, `{number}` the row's own (`{number:6}` with leading zeros),
#   `{TABLE}` the beginning of the table's name, `{first_name}` that column of the row. Only texts with the row's own
#   number are unique. `a|b|c` is a choice.
# number: the smallest and the largest value. boolean: how often it is true.
# moment: the first and the last day, counted from the project's `now`.
HINTS: tuple[tuple[str, str, str], ...] = (
    ("text", "mail", "{first_name}.{last_name}{number}@example.com"),
    ("text", "mail", "{WORDS}{number}@example.com"),
    ("text", "mail", "{number}@a.io"),
    ("text", "user_?name|login|nick|handle|screen_?name|account_?name", "{WORDS}{number}"),
    ("text", "(?:url|uri|link|href|website|homepage|web)_", "https://example.com/{WORDS}-{number}"),
    ("text", "image|photo|avatar|picture|thumbnail", "https://example.com/{number}.png"),
    ("text", "path|file", "/{WORDS}/{number}.txt"),
    ("text", "_(?:domain|host|hostname|subdomain)_$", "{WORDS}{number}.example.com"),
    ("text", "_ip(?:_|v4)", "10.0.0.{1-254}"),
    ("text", "slug|permalink", "{WORDS}-{number}"),
    (
        "text",
        r"_(?:token|hash|digest|password|passwd|secret|checksum|signature|sha\d+|md5|api_?key|session)_",
        "{number:32}",
    ),
    ("text", "_(?:phone|fax|mobile|cell|tel|telephone)", "+1555{number:7}"),
    ("text", r"_(?:street|address(?:_?(?:line)?_?\d*)?|addr\d?)_$", "{1-250} {STREETS}"),
    ("text", "_(?:zip|zip_?code|postal|postal_?code|postcode)_$", "{10000-99999}"),
    (
        "text",
        "_(?:full|contact|customer|display|person|author|owner|employee|holder|recipient|ship)_?name_$",
        "{FIRST_NAMES} {LAST_NAMES}",
    ),
    ("text", "_(?:initials?|mi)_$", "A|B|C|D|E|J|K|L|M"),
    ("text", "_(?:first|given|middle)_?name|^_forename", "{FIRST_NAMES}"),
    ("text", "_(?:last|family)_?name|^_surname", "{LAST_NAMES}"),
    ("text", "_(?:city|town|birthplace|province|region|district|county|area)_(?:name_)?$", "{CITIES}"),
    ("text", "_(?:country|nation|nationality)_(?:name_)?$", "{COUNTRIES}"),
    ("text", "_(?:company|employer|organi[sz]ation|vendor|supplier|brand|maker)_?(?:name_)?$", "{COMPANIES}"),
    (
        "text",
        "_(?:description|summary|notes?|comments?|remarks?|bio|body|content|message|text|review|details?|reason|"
        "excerpt|overview|abstract|caption|quote|feedback)_$",
        "{SENTENCES}",
    ),
    ("text", "_(?:billing|home|ship[a-z]*|address)_state_$", "{CITIES}"),
    ("text", "_(?:status|state|stage)_$", "active|closed|new|waiting"),
    ("text", "_currency_(?:code_)?$", "CHF|EUR|GBP|JPY|USD"),
    ("text", "_(?:language|lang)_(?:code_)?$", "de|en|es|fr|ja"),
    ("text", "_locale_$", "de_DE|en_US|es_ES|fr_FR|ja_JP"),
    ("text", "_(?:time_?zone|tz)_$", "America/New_York|Asia/Tokyo|Europe/Berlin|UTC"),
    ("text", "_country_(?:code_)?$|_nation", "AR|AU|BR|CA|DE|EG|ES|FR|GB|IN|IT|JP|KE|MX|NG|NO|PL|US"),
    ("text", "_(?:state|province|region)_(?:code_|abbr_)?$", "CA|FL|NY|OR|TX|WA"),
    ("text", "_colou?r_$", "black|blue|green|red|white"),
    ("text", "_(?:gender|sex)_$", "female|male|other"),
    ("text", "_(?:gender|sex)_$", "F|M"),
    ("text", "_(?:mime|content)_?type_$", "application/pdf|image/png|text/plain"),
    ("text", "_(?:courtesy|salutation)_$", "Dr.|Mr.|Mrs.|Ms."),
    ("text", "_(?:job|contact)_?title_$|^_occupation|profession_$", "Accountant|Buyer|Engineer|Owner"),
    ("text", "_role_$", "admin|editor|member|owner"),
    ("text", "_(?:type|kind|category|class|group|level)_$", "basic|plus|special|standard"),
    ("text", "_version_$", "1.0|1.1|2.0"),
    ("text", "_(?:sku|ref|reference|no|nr|serial|barcode|isbn|uid|tag)_|(?:_id|number|code)_$", "{TABLE}-{number:6}"),
    ("text", "_(?:sku|ref|reference|no|nr|serial|barcode|isbn|uid|tag)_|(?:_id|number|code)_$", "{number:6}"),
    ("number", "_year", "1990..2025"),
    ("number", "_(?:active|enabled|deleted|discontinued|flag|is)_", "0..1"),
    ("number", "_month", "1..12"),
    ("number", "_(?:day|weekday)_", "1..28"),
    ("number", "_hour", "0..23"),
    ("number", "_age_", "18..90"),
    ("number", "_(?:rating|stars)", "1..5"),
    ("number", "_(?:latitude|lat)_", "-60..70"),
    ("number", "_(?:longitude|lng|lon|long)_", "-180..180"),
    ("number", "_(?:percent|percentage|pct|progress|score)", "0..100"),
    ("number", "_(?:tax|discount|ratio|probability|confidence|fraction|commission|interest)_", "0..1"),
    ("number", "_(?:quantity|qty|copies|seats|guests|days?|nights)_", "1..20"),
    ("number", "_(?:milliseconds|ms)_$", "90000..600000"),
    ("number", "_bytes_$|size_$", "1000..5000000"),
    ("number", "_(?:seconds|secs)", "10..3600"),
    ("number", "_(?:minutes|mins|duration|length|runtime)", "30..180"),
    ("number", "_(?:cents|salary|budget|revenue|population)", "1000..200000"),
    ("number", "_(?:price|amount|total|cost|fee|subtotal|payment|charge|freight|balance|rate|value)", "1..200"),
    ("number", "_(?:count|views?|likes|hits|visits|downloads|votes|points|num|stock|units?|inventory)_", "0..500"),
    ("number", "_(?:position|rank|order|sort|sequence|level|priority|version|number|index|idx|line)_", "1..50"),
    ("boolean", "_(?:is_)?(?:active|enabled|verified|valid|visible|public|available|in_stock)", "0.9"),
    (
        "boolean",
        "_(?:is_)?(?:deleted|banned|archived|blocked|locked|disabled|admin|superuser|spam|discontinued|hidden)",
        "0.05",
    ),
    ("moment", "_(?:birth|born|dob)", "-29200..-6570"),
    ("moment", "_(?:expir|due|valid_(?:to|until)|renew|scheduled|deadline)", "0..365"),
)

WORDS: dict[str, tuple[str, ...]] = {
    "CITIES": (
        "Amsterdam", "Austin", "Berlin", "Bogota", "Cairo", "Denver", "Dublin", "Hanoi", "Kyoto", "Lagos", "Lima",
        "Lisbon", "London", "Lyon", "Madrid", "Nairobi", "Osaka", "Oslo", "Porto", "Quito", "Riga", "Rome", "Seoul",
        "Toronto", "Utrecht", "Vienna", "Zurich",
    ),
    "COMPANIES": (
        "Acme", "Alder", "Beacon", "Birch", "Cobalt", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Juniper",
        "Keystone", "Lumen", "Meridian", "Northwind", "Orchard", "Pioneer", "Quarry", "Summit", "Tandem",
    ),
    "COUNTRIES": (
        "Argentina", "Australia", "Brazil", "Canada", "Egypt", "France", "Germany", "India", "Italy", "Japan", "Kenya",
        "Mexico", "Nigeria", "Norway", "Poland", "Portugal", "Spain", "Sweden", "Turkey", "Vietnam",
    ),
    "FIRST_NAMES": (
        "Ada", "Ali", "Amara", "Ana", "Ben", "Chloe", "Diego", "Elena", "Emil", "Fatima", "Grace", "Hana", "Ivan",
        "Jonas", "Julia", "Kenji", "Lea", "Luca", "Maria", "Mateo", "Mia", "Nina", "Noah", "Olga", "Omar", "Priya",
        "Rosa", "Samir", "Sofia", "Theo", "Wei", "Zoe",
    ),
    "LAST_NAMES": (
        "Almeida", "Bauer", "Chen", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jansen",
        "Kaya", "Khan", "Kim", "Larsen", "Lopez", "Meyer", "Moreau", "Nguyen", "Novak", "Okafor", "Patel", "Rossi",
        "Sato", "Silva", "Smith", "Tanaka", "Varga", "Weber", "Young",
    ),
    "SENTENCES": (
        "Arrived on time and works as expected.",
        "Better than the one before.",
        "Needs a second look next week.",
        "Nothing to add for now.",
        "Please call back before noon.",
        "Quiet, sturdy and easy to clean.",
        "Small, but it does what it should.",
        "The first of its kind.",
        "Was sent again after a question.",
        "Worth every minute.",
    ),
    "STREETS": (
        "Birch Lane", "Canal Street", "Church Road", "Garden Avenue", "High Street", "Hill Road", "King Street",
        "Lake Drive", "Maple Avenue", "Market Square", "Mill Lane", "Park Road", "River Walk", "Station Road",
    ),
    "WORDS": (
        "amber", "anchor", "apple", "arrow", "basket", "beacon", "breeze", "bridge", "candle", "canyon", "cedar",
        "cloud", "copper", "coral", "cotton", "desert", "ember", "falcon", "feather", "forest", "garden", "harbor",
        "hazel", "honey", "island", "ivory", "jade", "lantern", "lemon", "maple", "marble", "meadow", "mirror", "ocean",
        "olive", "orchid", "pebble", "pepper", "pine", "planet", "quartz", "rain", "river", "saffron", "silver",
        "stone", "summit", "thunder", "timber", "valley", "velvet", "willow", "winter",
    ),
}  # fmt: skip

# The rows of lookup tables, by the last word of the table's name in the singular.
LOOKUPS: dict[str, tuple[str, ...]] = {
    "category": ("Action", "Animation", "Children", "Classics", "Comedy", "Documentary", "Drama", "Travel"),
    "color": ("black", "blue", "green", "grey", "orange", "red", "white", "yellow"),
    "country": WORDS["COUNTRIES"][:8],
    "currency": ("AUD", "BRL", "CAD", "CHF", "EUR", "GBP", "JPY", "USD"),
    "department": ("Design", "Engineering", "Finance", "Legal", "Marketing", "People", "Sales", "Support"),
    "genre": ("Blues", "Classical", "Electronic", "Folk", "Jazz", "Metal", "Pop", "Rock"),
    "language": ("Arabic", "English", "French", "German", "Hindi", "Italian", "Japanese", "Spanish"),
    "method": ("bank transfer", "card", "cash", "cheque", "direct debit", "invoice", "voucher", "wallet"),
    "priority": ("lowest", "lower", "low", "normal", "high", "higher", "highest", "urgent"),
    "region": ("Central", "East", "North", "Northeast", "Northwest", "South", "Southwest", "West"),
    "role": ("admin", "analyst", "author", "editor", "guest", "manager", "member", "owner"),
    "shipper": ("Blue Line", "Coastal", "Direct", "Express", "Global", "Harbor", "Overland", "Swift"),
    "size": ("XXS", "XS", "S", "M", "L", "XL", "XXL", "XXXL"),
    "status": ("new", "open", "active", "waiting", "done", "closed", "cancelled", "archived"),
    "tier": ("free", "starter", "basic", "plus", "pro", "team", "business", "enterprise"),
}

CODES = ("AR", "AU", "BR", "CA", "DE", "EG", "ES", "FR", "GB", "IN", "IT", "JP", "KE", "MX", "NG", "NO", "PL", "US")
