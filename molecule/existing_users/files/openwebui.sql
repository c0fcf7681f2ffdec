-- Forty of them signed up by themselves, and chat.
SET SESSION AUTHORIZATION openwebui;

INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, updated_at, created_at, settings)
SELECT 'own-' || n, 'Own name ' || n, 'person-' || n || '@example.com', 'user', '/user.png', 1, 1, 1,
       '{"ui": {"theme": "dark"}}'
  FROM generate_series(101, 140) AS n WHERE n % 30 <> 0 AND n % 100 NOT BETWEEN 31 AND 35;

INSERT INTO auth (id, email, password, active)
SELECT id, email, 'the hash of ' || email, true FROM "user" WHERE id LIKE 'own-%';

INSERT INTO chat (id, user_id, title, chat, created_at, updated_at, archived)
SELECT 'chat-of-' || id, id, 'A chat', '{}', 1, 1, false FROM "user" WHERE id LIKE 'own-%';
