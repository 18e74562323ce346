-- Delete the chunks beyond a text's last one: it used to be longer. Runs with the role's search path.
DELETE FROM {target} held
 USING (SELECT {parent} AS parent, pg_catalog.max({number}) AS last FROM {stage} GROUP BY 1) staged
 WHERE held.{parent} OPERATOR(pg_catalog.=) staged.parent AND held.{number} OPERATOR(pg_catalog.>) staged.last
   AND held.{model} OPERATOR(pg_catalog.=) %(model)s
