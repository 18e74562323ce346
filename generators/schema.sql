-- The tables of a service where people keep what they watch, hear and read, with transcripts to search by meaning.
-- PostgreSQL 14 – 18; `create_schema = true` applies this to an empty database.

CREATE TYPE user_plan AS ENUM ('free', 'pro', 'team');
CREATE TYPE share_platform AS ENUM ('youtube', 'vimeo', 'podcast', 'article', 'tiktok');
CREATE TYPE share_status AS ENUM ('pending', 'processing', 'done', 'error');

CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL UNIQUE CHECK (position('@' IN email) > 1),
    username text NOT NULL UNIQUE CHECK (username ~ '^[a-z][a-z0-9.]+$'),
    display_name text NOT NULL CHECK (display_name <> ''),
    locale text NOT NULL DEFAULT 'en_US' CHECK (locale ~ '^[a-z]{2}_[A-Z]{2}$'),
    timezone text NOT NULL DEFAULT 'UTC',
    plan user_plan NOT NULL DEFAULT 'free',
    is_active boolean NOT NULL DEFAULT true,
    preferences jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(preferences) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_updated_after_created CHECK (updated_at >= created_at)
);
COMMENT ON TABLE users IS 'Accounts; one that was left is not active, and was updated last when that happened.';

CREATE TABLE shares (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    url text NOT NULL CHECK (url ~ '^https?://'),
    platform share_platform NOT NULL,
    title text NOT NULL CHECK (title <> ''),
    description text,
    status share_status NOT NULL DEFAULT 'pending',
    view_count bigint NOT NULL DEFAULT 0 CHECK (view_count >= 0),
    tags text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, url),
    CONSTRAINT shares_viewed_when_done CHECK (view_count = 0 OR status = 'done'),
    CONSTRAINT shares_updated_after_created CHECK (updated_at >= created_at)
);
COMMENT ON TABLE shares IS 'Links that users keep; each is fetched and transcribed in the background.';
COMMENT ON COLUMN shares.metadata IS '`topic`, `language`, and of a video shared twice, in `duplicate_of`, the id of the first share.';

CREATE INDEX shares_user_id_created_at_idx ON shares (user_id, created_at);
CREATE INDEX shares_unfinished_idx ON shares (created_at) WHERE status IN ('pending', 'processing');

CREATE TABLE transcripts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    share_id uuid NOT NULL UNIQUE REFERENCES shares ON DELETE CASCADE,
    language text NOT NULL CHECK (language ~ '^[a-z]{2}$'),
    body text NOT NULL,
    segments jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(segments) = 'array'),
    word_count integer NOT NULL CHECK (word_count >= 0),
    duration_seconds integer NOT NULL CHECK (duration_seconds >= 0),
    topic text NOT NULL,
    confidence numeric(4, 3) NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE transcripts IS
    'What a speech recognizer hears in a share that is done: words are missing, doubled or misheard on purpose.'
    ' `body` is the texts of `segments`, joined by blanks.';

CREATE TABLE embeddings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    transcript_id uuid NOT NULL REFERENCES transcripts ON DELETE CASCADE,
    chunk_index integer NOT NULL CHECK (chunk_index >= 0),
    content text NOT NULL,
    model text NOT NULL,
    UNIQUE (transcript_id, chunk_index, model)
);
COMMENT ON TABLE embeddings IS 'Vectors of the chunks of a transcript, one for each model.';

-- With pgvector where the server has it, with a plain array where it has not: the same rows load into both.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
        CREATE EXTENSION IF NOT EXISTS vector;
        ALTER TABLE embeddings ADD COLUMN embedding vector(384) NOT NULL;
    ELSE
        ALTER TABLE embeddings ADD COLUMN embedding real[] NOT NULL CHECK (cardinality(embedding) = 384);
    END IF;
END
$$;
