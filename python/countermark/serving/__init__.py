"""What every server adapter shares; nothing in here imports a server or torch.

    config      ServingConfig: the one TOML file, named by COUNTERMARK_CONFIG
    ticket      the account statement that travels from the API to the hook, under a MAC
    accounts    API key → account
    routes      which routes generate, and what of a client's request is removed
    policy      log-probabilities, and parameters that would leave nothing to mark
    log         the serving log
    metrics     counters shared between the hook's process and the API's
    middleware  AccountMiddleware: all of that before an ASGI application
    engine      the hook inside an engine's process
"""
