-- The tables of shop.py: what most business databases look like.

CREATE TYPE order_status AS ENUM ('new', 'paid', 'shipped', 'returned');

CREATE TABLE customers (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    country character(2) NOT NULL,
    segment text NOT NULL,
    balance numeric(12, 2) NOT NULL,
    born_on date,
    active boolean NOT NULL,
    joined_at timestamptz NOT NULL
);

CREATE TABLE orders (
    id bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    status order_status NOT NULL,
    currency character(3) NOT NULL,
    total numeric(12, 2) NOT NULL,
    discount numeric(5, 2),
    priority smallint NOT NULL,
    placed_at timestamptz NOT NULL,
    ship_on date
);

CREATE TABLE order_lines (
    id bigint PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES orders,
    line integer NOT NULL,
    product_id integer NOT NULL,
    sku text NOT NULL,
    quantity integer NOT NULL,
    price numeric(10, 2) NOT NULL,
    tax numeric(10, 2) NOT NULL,
    returned boolean NOT NULL,
    note text
);
