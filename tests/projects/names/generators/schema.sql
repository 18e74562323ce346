CREATE SCHEMA "Order by";
CREATE TYPE "Order by"."Ding" AS ENUM ('Ja', 'Ne"in');
CREATE TABLE "Order by"."Größe ""x"" %s" (
    "primary" bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME "Order by"."Folge %s'") PRIMARY KEY,
    "select" "Order by"."Ding",
    "a.b" text,
    "Ä" bigint,
    "%s" integer NOT NULL,
    "'" text
);
ALTER TABLE "Order by"."Größe ""x"" %s"
    ADD CONSTRAINT "fk's %s" FOREIGN KEY ("Ä") REFERENCES "Order by"."Größe ""x"" %s",
    ADD CONSTRAINT "Ünique %s" UNIQUE ("%s");
CREATE INDEX "%s'""" ON "Order by"."Größe ""x"" %s" ("select", lower("a.b")) WHERE "'" <> '%';
COMMENT ON INDEX "Order by"."%s'""" IS '100 % ''so''';
COMMENT ON CONSTRAINT "fk's %s" ON "Order by"."Größe ""x"" %s" IS '%s';
COMMENT ON CONSTRAINT "Ünique %s" ON "Order by"."Größe ""x"" %s" IS E'\\ und %';
CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
CREATE TRIGGER "tr'ig %s" BEFORE INSERT ON "Order by"."Größe ""x"" %s" EXECUTE FUNCTION fails();
CREATE RULE "ru'le %s" AS ON INSERT TO "Order by"."Größe ""x"" %s" DO INSTEAD NOTHING;
