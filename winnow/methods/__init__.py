"""The published scores, one file a method, each a function of losses with its formula on the page."""
