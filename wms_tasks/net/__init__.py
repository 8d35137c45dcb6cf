"""Requests to strangers' servers: one guarded, deadline-bound way out, used by probe and polite. Knows no site."""
