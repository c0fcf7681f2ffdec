-- What the bridge says about the person with this address in Open WebUI: the account, and every model that LiteLLM serves.
SELECT jsonb_build_object(
           'account', m.openwebui_id, 'followed', s.model_access, 'enforced', s.enforce_models,
           'user', m.litellm_id, 'attribution', s.attribution,
           'models', (
               SELECT coalesce(jsonb_agg(jsonb_build_object(
                          'model', c.model,
                          'openwebui_id', coalesce(x.said #>> '{openwebui,row}', s.openwebui_model_prefix || c.model),
                          'granted', (x.said ->> 'granted')::boolean AND x.said ->> 'problem' IS NULL,
                          'switched_off',
                          coalesce(x.said #> '{openwebui,reasons}' @> '["hidden by an administrator''s toggle"]', false),
                          'reason', coalesce(x.said ->> 'problem',
                                             (x.said #>> '{ways,0,way}') || ': ' || (x.said #>> '{ways,0,reason}'), ''))), '[]')
                 FROM user_bridge.model_catalog AS c
                CROSS JOIN LATERAL (SELECT user_bridge.explain_model(m.litellm_id, c.model)) AS x(said)
                -- A pattern is no model.
                WHERE c.shown AND s.model_access AND strpos(c.model, '*') = 0))::text AS found
  FROM user_bridge.sync_mapping AS m
 CROSS JOIN user_bridge.settings AS s
 WHERE m.litellm_type = 'user' AND lower(m.sync_data ->> 'email') = lower(btrim(%(email)s))
