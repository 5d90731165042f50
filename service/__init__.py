"""The HTTP gateway: it checks a request, writes a row, wakes a worker, and streams what is stored.

It loads no model and computes no score; a test holds that `import service.app` brings in neither torch nor
transformers. A folder is a noun of the API: `endpoints.py` says what is served, `schemas.py` what it looks like.
"""
