"""The routes of the API: users, products, the pipeline's status, and operations.

In come parameters that were checked, and the views in memory.
Out go the responses that api.models describes.
"""
