INSERT INTO {target} AS held ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {stage} ORDER BY {conflict}
    ON CONFLICT ({conflict}) DO UPDATE SET {updates} WHERE {old} OPERATOR(pg_catalog.<>) {new}
