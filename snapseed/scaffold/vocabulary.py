"""The words that texts of a first project are made of. A project gets those lists that it uses, as `words.py`."""

from __future__ import annotations

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

# What lookup tables of these names hold, by the last word of the name in the singular.
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
