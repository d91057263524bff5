"""The page people look at: rendered on the server, works without JavaScript, live with it."""
