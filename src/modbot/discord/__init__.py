"""The wire to Discord: gateway session, REST client and limits, payload types, signatures."""
