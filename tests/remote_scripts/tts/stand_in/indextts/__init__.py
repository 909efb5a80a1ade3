"""A stand-in for IndexTTS whose classes have its signatures and whose speech can be measured."""
