"""`filbert serve`: finished models over HTTP, a thin shell around the engine.

    connection → guard → app → requests → line → process ⇄ worker (engine) → replies

One event loop admits, queues and answers; it neither tokenises nor scores. Each model has a process of its own, which
may die, stall or be replaced while the loop goes on. No module here names a task: what an item of a request holds and
how an answer is written is `task.asked`, `task.row`, `task.show` and `task.hub`.
"""
