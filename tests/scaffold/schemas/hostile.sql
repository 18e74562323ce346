-- What schemas can be like: names, cycles, composite keys, checks of many kinds, partitions, types of all sorts.

CREATE SCHEMA "Sales Dept";
CREATE TYPE "Sales Dept"."Mood" AS ENUM ('it''s "fine"', 'so-so', 'bad');
CREATE TYPE pair AS (a integer, b text);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN short_positive AS positive CHECK (VALUE < 1000);
CREATE DOMAIN email_address AS text CHECK (VALUE ~ '^[^@]+@[^@]+\.[a-z]+$');

-- Names that are words of SQL, of Python and of the generators themselves.
CREATE TABLE "order" ("select" integer PRIMARY KEY, "class" text NOT NULL, "rows" integer NOT NULL, "pl" date NOT NULL);
CREATE TABLE "rows" (entity bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "number" text NOT NULL UNIQUE, "Order" integer REFERENCES "order");
CREATE TABLE "Rows" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "rows" bigint NOT NULL REFERENCES "rows" ON DELETE CASCADE);
CREATE TABLE words (word varchar(12) PRIMARY KEY, "Ünïcode ""quoted""" text);
CREATE TABLE "1st table with a name that is nearly as long as names can be, 63" (
    "a column whose name is so long that no line has room for it all" text NOT NULL,
    id integer PRIMARY KEY
);
CREATE TABLE "Sales Dept"."Line Items" (
    "Item No" integer PRIMARY KEY,
    "Mood" "Sales Dept"."Mood" NOT NULL DEFAULT 'bad',
    moods "Sales Dept"."Mood"[] NOT NULL,
    "Order" integer NOT NULL REFERENCES "order"
);
CREATE TABLE "Sales Dept".words (id integer PRIMARY KEY, word varchar(12) NOT NULL REFERENCES public.words);

-- Tenants, with composite keys that share a column.
CREATE TABLE tenants (id integer PRIMARY KEY, name text NOT NULL UNIQUE, slug varchar(20) NOT NULL UNIQUE);
CREATE TABLE projects (
    tenant_id integer NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id integer NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);
CREATE TABLE tasks (
    tenant_id integer NOT NULL,
    project_id integer NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    depends_on integer,
    title text NOT NULL CHECK (length(title) BETWEEN 3 AND 40),
    PRIMARY KEY (tenant_id, project_id, number),
    FOREIGN KEY (tenant_id, project_id) REFERENCES projects ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, project_id, depends_on) REFERENCES tasks
);

-- Cycles, with and without NULL; references to itself; two to the same table.
CREATE TABLE heads (id integer PRIMARY KEY, body_id integer NOT NULL UNIQUE);
CREATE TABLE bodies (id integer PRIMARY KEY, head_id integer REFERENCES heads, made date NOT NULL);
ALTER TABLE heads ADD FOREIGN KEY (body_id) REFERENCES bodies DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE folders (id uuid PRIMARY KEY, parent_id uuid NOT NULL REFERENCES folders, name text NOT NULL);
CREATE TABLE users (
    id bigserial PRIMARY KEY,
    email email_address NOT NULL UNIQUE,
    username varchar(30) NOT NULL,
    birth_date date CHECK (birth_date > '1900-01-01' AND birth_date < CURRENT_DATE),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz CHECK (deleted_at IS NULL OR deleted_at >= created_at),
    CHECK (updated_at >= created_at)
);
CREATE UNIQUE INDEX users_lower_username ON users (lower(username));
CREATE TABLE messages (
    id uuid PRIMARY KEY,
    sender_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    receiver_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    reply_to uuid REFERENCES messages,
    body text NOT NULL,
    sent_at timestamptz NOT NULL
);
CREATE TABLE profiles (user_id bigint PRIMARY KEY REFERENCES users ON DELETE CASCADE, bio text, website text);
CREATE TABLE follows (
    follower_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    followed_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (follower_id, followed_id)
);

-- Checks that can be read, and some that cannot.
CREATE TABLE products (
    id integer PRIMARY KEY,
    sku text NOT NULL UNIQUE CHECK (sku ~ '^[A-Z]{3}-\d{6}$'),
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'on sale', 'gone')),
    price numeric(8, 2) NOT NULL CHECK (price > 0 AND price < 1000),
    sale_price numeric(8, 2) CHECK (sale_price <= price),
    low integer NOT NULL,
    high integer NOT NULL,
    CHECK (low < high),
    weight real NOT NULL CHECK (weight BETWEEN 0.5 AND 1.5),
    code char(2) NOT NULL CHECK (code = upper(code)),
    score positive NOT NULL,
    rank short_positive,
    sold_at timestamptz,
    CHECK ((status = 'on sale') = (sold_at IS NULL)),
    level smallint NOT NULL CHECK (level = 1 OR level = 2 OR level = 3),
    ratio double precision NOT NULL DEFAULT 0 CHECK (ratio >= 0),
    temperature integer NOT NULL CHECK (temperature < '-10'::integer),
    tags text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tags) <= 5),
    data jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(data) = 'array'),
    checked integer NOT NULL DEFAULT 7 CHECK (CASE WHEN checked > 5 THEN true ELSE checked IS NOT NULL END),
    language varchar(2) NOT NULL CHECK (language ~ '^[a-z]{2}$'),
    total numeric GENERATED ALWAYS AS (price * 2) STORED,
    CHECK (num_nonnulls(rank, sold_at) >= 0)
);
CREATE TABLE kinds (id smallserial PRIMARY KEY, code varchar(3) NOT NULL UNIQUE, label text NOT NULL);
CREATE TABLE product_kinds (
    product_id integer NOT NULL REFERENCES products ON DELETE CASCADE,
    kind_id smallint NOT NULL REFERENCES kinds,
    id serial PRIMARY KEY,
    UNIQUE (product_id, kind_id)
);
CREATE TABLE ratings (
    id bigint PRIMARY KEY,
    product_id integer NOT NULL REFERENCES products,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    stars smallint NOT NULL CHECK (stars >= 1 AND stars <= 5),
    UNIQUE (user_id, product_id)
);
CREATE TABLE bookings (
    id integer PRIMARY KEY,
    room integer NOT NULL,
    during tstzrange NOT NULL,
    EXCLUDE USING gist (during WITH &&)
);
CREATE TABLE colours (id integer PRIMARY KEY, place integer NOT NULL, EXCLUDE USING btree (place WITH =), EXCLUDE USING btree ((id * 2) WITH =));
CREATE TABLE logs (at timestamptz NOT NULL, message text, level "Sales Dept"."Mood");
CREATE TABLE markers (at timestamptz NOT NULL, fine boolean NOT NULL);

-- Partitions: by list, by hash, by range in two steps, and none at all.
CREATE TABLE events (
    id bigint NOT NULL, region text NOT NULL, payload json NOT NULL, PRIMARY KEY (id, region)
) PARTITION BY LIST (region);
CREATE TABLE events_eu PARTITION OF events FOR VALUES IN ('eu', 'uk');
CREATE TABLE events_us PARTITION OF events FOR VALUES IN ('us');
CREATE TABLE shards (id uuid NOT NULL PRIMARY KEY) PARTITION BY HASH (id);
CREATE TABLE shards_0 PARTITION OF shards FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shards_1 PARTITION OF shards FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE readings (id bigint NOT NULL, taken date NOT NULL, sensor integer) PARTITION BY RANGE (taken);
CREATE TABLE readings_old PARTITION OF readings FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE readings_2020 PARTITION OF readings FOR VALUES FROM ('2020-01-01') TO ('2021-01-01') PARTITION BY HASH (id);
CREATE TABLE readings_2020_0 PARTITION OF readings_2020 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE unmade (id bigint NOT NULL, taken date NOT NULL) PARTITION BY RANGE (taken);

-- Types.
CREATE TABLE types (
    id bigint PRIMARY KEY, a_bool boolean NOT NULL, a_real real NOT NULL, a_double double precision NOT NULL,
    a_numeric numeric NOT NULL, a_whole numeric(6) NOT NULL, a_fine numeric(12, 6) NOT NULL, a_char char(3) NOT NULL,
    a_bytea bytea NOT NULL, a_uuid uuid NOT NULL, a_date date NOT NULL, a_time time NOT NULL, a_timetz timetz NOT NULL,
    a_timestamp timestamp NOT NULL, a_second timestamp(0) NOT NULL, a_milli timestamptz(3) NOT NULL,
    an_interval interval NOT NULL, a_json json NOT NULL, an_inet inet NOT NULL, a_cidr cidr NOT NULL,
    a_mac macaddr NOT NULL, a_bit bit(4) NOT NULL, a_varbit varbit NOT NULL, a_money money NOT NULL,
    a_point point NOT NULL, a_tsvector tsvector NOT NULL, an_int4range int4range NOT NULL, a_daterange daterange NOT NULL,
    a_tsrange tsrange NOT NULL, some_ints integer[] NOT NULL, some_uuids uuid[], some_dates date[] NOT NULL,
    some_bools boolean[] NOT NULL, some_numbers numeric(5, 2)[] NOT NULL, some_positives positive[], a_pair pair,
    a_path path, a_name name NOT NULL, short varchar(1) NOT NULL, "char" "char" NOT NULL
);
CREATE TABLE pairs (id bigint PRIMARY KEY, a_pair pair NOT NULL);
CREATE TABLE of_pairs (id bigint PRIMARY KEY, pair_id bigint NOT NULL REFERENCES pairs);
CREATE TABLE maybe_of_pairs (id bigint PRIMARY KEY, pair_id bigint REFERENCES pairs);
CREATE VIEW everybody AS SELECT * FROM users;
