-- The types that the values are of; the tests make the tables, which are all alike.
CREATE SCHEMA "Odd Place";
CREATE TYPE "Odd Place"."Light" AS ENUM ('red', 'GREEN', 'very "odd", \ light', '');
CREATE TYPE "Dot.ted" AS ENUM ('a', 'b');
CREATE TYPE pair AS (number integer, "Text" text);
CREATE TYPE nest AS (one pair, many pair[], address inet, padded char(3));
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE text_range AS RANGE (subtype = text, collation = "C");
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN word AS varchar(10) NOT NULL CHECK (VALUE <> '');
CREATE DOMAIN price AS numeric(6, 2);
CREATE DOMAIN padded AS char(4);
CREATE DOMAIN document AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
CREATE DOMAIN light AS "Odd Place"."Light";
CREATE DOMAIN place AS inet CHECK (family(VALUE) = 4);
CREATE DOMAIN couple AS pair CHECK ((VALUE).number > 0);
CREATE DOMAIN numbers AS integer[] CHECK (cardinality(VALUE) < 5);
CREATE DOMAIN moments AS timestamptz(0)[];
