"""The room for work whose sandbox ends: it comes home before, goes back into what follows, and what only has to go is
remembered. It must not plan, and no module in it makes a sandbox."""
