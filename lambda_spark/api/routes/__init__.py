"""The routes of the API, by what they are about: users, products, the pipeline's status, operations.

Validated parameters and the views in memory come in.
Out go the responses that api.models describes.
"""
