-- Delete the chunks beyond a text's last one: it used to be longer.
DELETE FROM {target} held
 USING (SELECT {parent} AS parent, max({number}) AS last FROM {stage} GROUP BY 1) staged
 WHERE held.{parent} = staged.parent AND held.{number} > staged.last AND held.{model} = %(model)s
