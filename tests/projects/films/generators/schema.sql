CREATE TABLE actors (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE films (id bigint PRIMARY KEY, title text NOT NULL);
-- In the other order than the entity's key: what is unique is the same.
CREATE TABLE film_actor (
    film_id bigint NOT NULL REFERENCES films,
    actor_id uuid NOT NULL REFERENCES actors,
    role text,
    PRIMARY KEY (actor_id, film_id)
);
CREATE TABLE takes (
    film_id bigint NOT NULL,
    actor_id uuid NOT NULL,
    number smallint NOT NULL,
    seconds integer NOT NULL,
    PRIMARY KEY (film_id, actor_id, number),
    FOREIGN KEY (film_id, actor_id) REFERENCES film_actor (film_id, actor_id)
);
CREATE TABLE film_tag (
    film_id bigint NOT NULL REFERENCES films,
    tag text NOT NULL,
    PRIMARY KEY (film_id, tag)
);
CREATE TABLE seats (hall smallint, number integer, label text, PRIMARY KEY (hall, number));
