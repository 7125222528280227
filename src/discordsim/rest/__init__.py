"""Discord's REST API v10 over the world, as client libraries need it: resources, errors, rate limits, faults, a log of all requests.

`app.add_routes` puts it into an application.
"""
